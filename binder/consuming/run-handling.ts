import type { BatchBinding, ConsumerBinding } from '../bindings/declarations.ts'
import type { ResolvedConsumer } from '../bindings/resolve-options.ts'
import type { ProvisionedDestinations } from '../sending/destination-provisioning.ts'
import type { Publisher } from '../sending/publisher.ts'
import type { Transport } from '../transport/transport.ts'
import { BatchHandling } from './batch/batch-handling.ts'
import type { ConsumerRun } from './consumer-run.ts'
import { Handling } from './handling.ts'
import type { HandlingDependencies } from './handling-dependencies.ts'
import type { OutageLog } from './outage-log.ts'
import type { Pace } from './pace/pace.ts'
import { positionInboxOf } from './position-inbox.ts'

/** Parts of the binder that a consumer uses. */
export interface ConsumerHost
  extends Pick<HandlingDependencies, 'service' | 'clock' | 'logger' | 'handlerLogger' | 'telemetry' | 'ambient'> {
  readonly transport: Transport
  readonly destinations: ProvisionedDestinations
  readonly publisher: Publisher
  readonly drainTimeoutMs: number
  /** Shared by all bindings of the binder. */
  readonly outage: OutageLog
}

/** Handling of a binding's deliveries: one of the two. */
export interface RunHandling {
  readonly one: Handling | undefined
  readonly batch: BatchHandling | undefined
}

/** Creates the handling of one run, whose signals end it. */
export function newRunHandling(
  binding: ConsumerBinding | BatchBinding,
  options: ResolvedConsumer,
  host: ConsumerHost,
  run: ConsumerRun,
  pace: Pace | undefined,
  kept: Pick<HandlingDependencies, 'withdrawn' | 'stalledWrites' | 'runningCalls'>,
): RunHandling {
  const { publisher } = host
  const context: HandlingDependencies = {
    ...host,
    ...kept,
    stopping: run.stopping.signal,
    drain: run.drain.signal,
    pace,
    confirmsSingly: publisher.confirmsSingly,
    publish: (messages, parent) => publisher.publishResult(messages, parent),
  }
  if (binding.kind === 'batch') return { one: undefined, batch: new BatchHandling(binding, options, context) }
  const place = positionInboxOf(binding.options.inbox)
  const one = new Handling(binding, options, {
    ...context,
    move: place && ((delivery, messages) => place.move(delivery, messages)),
    answer: answering(binding, options.group, host),
  })
  return { one, batch: undefined }
}

/** Returns the function that creates a binding's answer to a failed request, and provisions the answer's destination. */
function answering(
  binding: ConsumerBinding,
  group: string | null,
  { service, clock, destinations }: Pick<ConsumerHost, 'service' | 'clock' | 'destinations'>,
): HandlingDependencies['answer'] {
  if (binding.kind !== 'processor' || binding.answer === undefined) return undefined
  const { answer } = binding
  return (request, error) => {
    const made = answer(request, error, { service, group, now: clock.now() })
    if (made !== undefined) destinations.learn(made.replies, made.message.destination)
    return made
  }
}
