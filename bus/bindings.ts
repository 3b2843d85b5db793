import type { SinkBinding } from '../binder/bindings/declarations.ts'
import type { HandlerContext } from '../binder/bindings/handler-types.ts'
import { sink } from '../binder/bindings/sink-processor-source.ts'
import type { Acknowledgements } from './acknowledgements.ts'
import { isReport } from './envelope.ts'
import type { Presence } from './presence.ts'
import type { Receiver } from './receiver.ts'
import type { InstanceReportWatches } from './reports/instance-report-watches.ts'
import type { BusContext } from './shared-dependencies.ts'

/** Parts of a bus that receive messages. */
interface Receivers {
  readonly receiver: Receiver
  readonly answers: Acknowledgements
  readonly watches: InstanceReportWatches
  readonly presence: Presence | undefined
}

/** The bindings that a binder runs for its bus. */
export function busBindings(
  { channels: { events, acks, presence }, names, counters }: BusContext,
  to: Receivers,
): readonly SinkBinding[] {
  const once = { maxAttempts: 1, onFailure: 'drop' } as const
  const bindings = [
    sink(events, { ...once, name: names.events }, (body, context) => to.receiver.arrived(body, context)),
    sink(acks, { ...once, name: names.acks, autoStart: false }, (body, context) => {
      if (isReport(context)) to.watches.arrived(body, context)
      else to.answers.arrived(body, context)
    }),
  ]
  if (names.presence !== undefined) {
    const heard = (body: Uint8Array, context: HandlerContext): void => to.presence?.arrived(body, context)
    bindings.push(sink(presence, { ...once, name: names.presence }, heard))
  }
  // The binder cannot decode it: a tombstone, or a payload with another version or form. No bus wrote it.
  const unreadable = async (_error: Error, { id }: HandlerContext): Promise<'handled'> => {
    counters.dropped('malformed', { messageId: id })
    return 'handled'
  }
  return Object.freeze(bindings.map((binding) => Object.freeze({ ...binding, unreadable })))
}
