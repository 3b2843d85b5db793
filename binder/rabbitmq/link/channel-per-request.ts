import type { Clock } from '../../../core/clock.ts'
import type { ResolvedRabbitOptions } from '../options.ts'
import { toTransportError, within } from '../transport-errors.ts'
import type { AmqpChannel, AmqpConnection } from './amqplib-types.ts'
import type { Link } from './connection.ts'

/** Runs each request on its own channel, because the broker closes a channel on an error. */
export class ChannelPerRequest {
  readonly #link: Link
  readonly #clock: Clock
  readonly #options: Pick<ResolvedRabbitOptions, 'requestTimeoutMs' | 'closeTimeoutMs'>

  constructor(link: Link, clock: Clock, options: Pick<ResolvedRabbitOptions, 'requestTimeoutMs' | 'closeTimeoutMs'>) {
    this.#link = link
    this.#clock = clock
    this.#options = options
  }

  /** @throws TransportError, a `timeout` after which the connection is dropped */
  async on<T>(connection: AmqpConnection, what: string, work: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const { requestTimeoutMs, closeTimeoutMs } = this.#options
    let channel: AmqpChannel | undefined
    try {
      channel = await within(this.#clock, requestTimeoutMs, what, connection.createChannel())
      channel.on('error', () => {})
      return await within(this.#clock, requestTimeoutMs, what, work(channel))
    } catch (cause) {
      const error = toTransportError(what, cause)
      if (error.kind === 'timeout') this.#link.drop(connection, error)
      throw error
    } finally {
      if (channel !== undefined)
        await within(this.#clock, closeTimeoutMs, 'close a channel', closed(channel)).catch(() => {})
    }
  }
}

/** Closing a closed channel throws at once. */
async function closed(channel: AmqpChannel): Promise<void> {
  await channel.close()
}
