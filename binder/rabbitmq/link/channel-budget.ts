import { CHANNELS, failure } from '../transport-errors.ts'
import { type AmqpConnection, channelMaxOf } from './amqplib-types.ts'

/** For declarations, lag and other requests to the broker besides the consumers. */
const RESERVED_CHANNELS = 8

interface UsesChannels {
  readonly destination: string
  readonly channels: number
}

/**
 * @param others number of channels that already use the connection
 * @throws TransportError `mismatch` if the connection has too few channels
 */
export function requireChannels(
  connection: AmqpConnection,
  { destination, channels }: UsesChannels,
  others: Iterable<UsesChannels>,
): void {
  const most = channelMaxOf(connection)
  let used = 0
  for (const other of others) used += other.channels
  if (used + channels + RESERVED_CHANNELS <= most) return
  const needs =
    `the binding of "${destination}" needs ${channels} channels (one for each partition, and one to share them), ${used} are in use and ` +
    `${RESERVED_CHANNELS} are kept for declarations and lag, but RabbitMQ allows ${most} on a connection (channel_max)`
  throw failure('mismatch', `${needs}. ${CHANNELS}`, { destination })
}
