import type { Clock } from 'concordat/core'
import type { Transport } from 'concordat/extension'

/** Transport whose `publish` calls without a deadline get one after `timeoutMs`, as from a binder. */
export function withDeadline(transport: Transport, timeoutMs: number, clock: Clock): Transport {
  const publish = transport.publish.bind(transport)
  transport.publish = (messages, until) => publish(messages, { deadline: clock.monotonic() + timeoutMs, ...until })
  return transport
}
