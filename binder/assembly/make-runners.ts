/** Creates the runners of declared bindings. */
import { invalidOption, isRetryable } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { wrongKind } from '../../core/option-checks.ts'
import { isMadeOf, requireComplete } from '../bindings/complete-declarations.ts'
import type { BatchBinding, Binding, ConsumerBinding, PollBinding } from '../bindings/declarations.ts'
import { ownerOf } from '../bindings/pipeline-description.ts'
import { pathOf, type ResolvedConsumer, resolveConsumer, resolveSource } from '../bindings/resolve-options.ts'
import { Consumer } from '../consuming/consumer.ts'
import { Puller } from '../consuming/puller.ts'
import type { ConsumerHost } from '../consuming/run-handling.ts'
import type { BatchMiddleware } from '../middleware/batch-middleware.ts'
import { checkMiddleware, type Middleware } from '../middleware/middleware.ts'
import { wrapBatchHandler, wrapHandler } from '../middleware/wrap-handlers.ts'
import { Poller } from '../sources/poller.ts'
import type { BindingStatus } from '../status.ts'
import { withPlaceInbox } from './settles-in-option.ts'

/** A running binding. */
export interface Runner {
  readonly autoStart: boolean
  status(): BindingStatus
  start(): Promise<void>
  stop(): Promise<void>
  pause(): void
  resume(): void
  /** Consumers only: true if it has its place at the broker and is not paused, even while part of its subscription is blocked. */
  readonly isReceiving?: boolean
  /** Consumers only. */
  lag?(): Promise<number | undefined>
  /** Consumers only. */
  deadLetters?(): Promise<number | undefined>
  /** For bindings that start later: creates the group. */
  prepare?(): Promise<void>
}

/** Parts of a binder that its bindings share. */
export interface BinderContext extends ConsumerHost {
  /** Middleware of the whole binder, around that of each binding. */
  readonly middleware: readonly Middleware[]
  readonly batchMiddleware: readonly BatchMiddleware[]
}

/**
 * Creates runners by name, in the given order, without starting them.
 * @throws TypeError / RangeError naming the binding and the option
 */
export function makeRunners(bindings: readonly Binding[], host: BinderContext): ReadonlyMap<string, Runner> {
  const runners = new Map<string, Runner>()
  const places = new Map<string, string>()
  requireOwnNames(bindings)
  for (const binding of bindings) {
    const runner = makeRunner(binding, host, places)
    const { name } = runner.status()
    if (runners.has(name))
      throw invalidOption('createBinder.bindings', name, 'a name of its own for each binding (option `name`)')
    runners.set(name, runner)
  }
  return runners
}

/**
 * Windows are stored under the name of their pipeline, so two with the same name would share them. @throws TypeError naming the
 * pipeline
 */
function requireOwnNames(bindings: readonly Binding[]): void {
  const owners = new Map<string, object>()
  for (const binding of bindings) {
    const part = 'pipeline' in binding ? binding.pipeline : undefined
    const owner = part && ownerOf(part)
    if (part === undefined || owner === undefined) continue
    const other = owners.get(part.pipeline) ?? owner
    if (other !== owner)
      throw invalidOption('createBinder.bindings', `pipeline ${part.pipeline}`, 'a name of its own for each pipeline')
    owners.set(part.pipeline, owner)
  }
}

/** Resolves after each binding's first attempt. @throws errors that no retry fixes */
export async function startRunners(runners: ReadonlyMap<string, Runner>, logger: Logger): Promise<void> {
  const prepare = async (runner: Runner): Promise<void> => {
    try {
      await runner.prepare?.()
    } catch (err) {
      if (!isRetryable(err)) throw err
      logger.warn({ err, binding: runner.status().name }, 'not prepared, the first poll tries again')
    }
  }
  await Promise.all([...runners.values()].map((runner) => (runner.autoStart ? runner.start() : prepare(runner))))
}

/** @throws TypeError when the binding does not belong to this binder */
export function pullerOf(runners: ReadonlyMap<string, Runner>, binding: PollBinding<never, never>): Puller {
  for (const runner of runners.values())
    if (runner instanceof Puller && isMadeOf(runner.binding, binding)) return runner
  throw wrongKind('poll', binding, 'what pollable() returned and createBinder got among its `bindings`')
}

function makeRunner(binding: Binding, host: BinderContext, places: Map<string, string>): Runner {
  return binding.kind === 'source'
    ? new Poller(binding, resolveSource(binding), host)
    : makeConsumer(binding, host, places)
}

function makeConsumer(
  declared: ConsumerBinding | BatchBinding | PollBinding,
  host: BinderContext,
  places: Map<string, string>,
): Consumer | Puller {
  requireComplete(pathOf(declared), declared)
  const binding = declared.kind === 'batch' || declared.kind === 'poll' ? declared : withPlaceInbox(declared, host)
  const options = resolveConsumer(binding)
  if (options.group !== null) claimPlace(places, binding.input.name, options.group)
  if (binding.kind === 'batch') return new Consumer(withBatchMiddleware(binding, options, host), options, host)
  const called = binding.kind === 'poll' ? 'pollable' : binding.kind
  const own = checkMiddleware(`${called}("${binding.input.name}").middleware`, binding.options.middleware)
  const { name, group } = options
  const kind = binding.kind === 'processor' ? 'processor' : 'sink'
  const target = { name, kind, channel: binding.input.name, group, clock: host.clock } as const
  if (binding.kind === 'poll')
    return new Puller(binding, options, host, (inner) => wrapHandler(inner, [...host.middleware, ...own], target))
  const isRaw = binding.kind === 'sink' && binding.raw === true
  return new Consumer(isRaw ? binding : wrapHandler(binding, [...host.middleware, ...own], target), options, host)
}

function withBatchMiddleware(
  binding: BatchBinding,
  { name, group }: ResolvedConsumer,
  { batchMiddleware, clock }: BinderContext,
): BatchBinding {
  const { input, output } = binding
  const kind = output === undefined ? 'sinkBatch' : 'processorBatch'
  const own = checkMiddleware(`${kind}("${input.name}").middleware`, binding.options.middleware)
  return wrapBatchHandler(binding, [...batchMiddleware, ...own], { name, kind, channel: input.name, group, clock })
}

/**
 * Names of dead letter channels, retry channels and Kafka groups join the two with a dot, so different pairs may have equal
 * names.
 */
function claimPlace(places: Map<string, string>, channel: string, group: string): void {
  const place = `${channel} / ${group}`
  for (const joined of [`${channel}.${group}`, `${group}.${channel} (a Kafka group)`]) {
    const other = places.get(joined)
    if (other !== undefined) {
      throw invalidOption(
        'createBinder.bindings',
        place,
        other === place
          ? 'one consumer per channel and group in a process; raise its `concurrency` or give another group'
          : `names that do not read as those of "${other}" when a dot joins them (${joined}); give another group`,
      )
    }
    places.set(joined, place)
  }
}
