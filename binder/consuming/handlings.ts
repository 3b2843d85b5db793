import type { Logger } from '../../core/logger.ts'
import type { BatchBinding, ConsumerBinding } from '../bindings/declarations.ts'
import type { ResolvedConsumer } from '../bindings/options.ts'
import { answering } from '../requests/replies.ts'
import type { AmbientHeaders } from '../sending/ambient-headers.ts'
import type { Publisher } from '../sending/publisher.ts'
import type { BinderTelemetry } from '../telemetry/telemetry.ts'
import { BatchHandling, type BatchHandlingHost } from './batch/batch-handling.ts'
import type { Calls } from './calls.ts'
import type { Refusals } from './failure/refusals.ts'
import type { TakenAway } from './failure/taken-away.ts'
import { Handling } from './handling.ts'
import type { KeeperHost } from './keeper.ts'
import type { OutageLog } from './outage-log.ts'
import type { Pace } from './pace/pace.ts'
import { placeInboxOf } from './place-inbox.ts'
import type { Run } from './run.ts'

/** Members of the binder that a consumer uses. */
export interface ConsumerHost extends KeeperHost {
  readonly service: string
  readonly publisher: Publisher
  readonly drainTimeoutMs: number
  readonly ambient: AmbientHeaders | undefined
  readonly telemetry: BinderTelemetry | undefined
  readonly handlerLogger: Logger
  /** Shared by all bindings of the binder. */
  readonly outage: OutageLog
}

/** How a binding handles its deliveries: one of the two. */
export interface Handlings {
  readonly one: Handling | undefined
  readonly batch: BatchHandling | undefined
}

/** Made anew for each run, whose signals end it. */
export function newHandlings(
  binding: ConsumerBinding | BatchBinding,
  options: ResolvedConsumer,
  host: ConsumerHost,
  run: Run,
  pace: Pace | undefined,
  { takenAway, refusals, calls }: { readonly takenAway: TakenAway; readonly refusals: Refusals; readonly calls: Calls },
): Handlings {
  const { service, clock, logger, publisher, ambient, destinations, telemetry, handlerLogger } = host
  const common: BatchHandlingHost = {
    service,
    clock,
    logger,
    stopping: run.stopping.signal,
    drain: run.drain.signal,
    pace,
    telemetry,
    handlerLogger,
    ambient,
    takenAway,
    refusals,
    calls,
    learn: (channel, destination) => destinations.learn(channel, destination),
    specOf: (destination) => destinations.spec(destination),
    confirmsSingly: publisher.confirmsSingly,
    publish: (messages, parent) => publisher.publishResult(messages, parent),
  }
  if (binding.kind === 'batch') return { one: undefined, batch: new BatchHandling(binding, options, common) }
  const place = placeInboxOf(binding.options.inbox)
  const one = new Handling(binding, options, {
    ...common,
    move: place && ((delivery, messages) => place.move(delivery, messages)),
    answer: answering(binding, options.group, { service, clock, destinations }),
  })
  return { one, batch: undefined }
}
