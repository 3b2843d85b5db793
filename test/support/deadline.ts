import type { Transport } from 'concordat/binder/transport'
import type { Clock } from 'concordat/core'

/** The transport, each call of `publish` with a deadline `timeoutMs` away, as a binder gives it. */
export function withDeadline(transport: Transport, timeoutMs: number, clock: Clock): Transport {
  const publish = transport.publish.bind(transport)
  transport.publish = (messages) => publish(messages, { deadline: clock.monotonic() + timeoutMs })
  return transport
}
