import { type Backoff, resolveBackoff } from '../../core/backoff.ts'
import { MINUTE, SECOND } from '../../core/clock.ts'
import { invalidOption, isRetryable, requireInteger, requireText } from '../../core/errors.ts'
import { hasMethods, optionNames, refuseUnknown, requireBoolean } from '../../core/option-checks.ts'
import { checkName } from '../channel/channel.ts'
import { MAX_DELAY_MS } from '../channel/delay.ts'
import { BinderError } from '../errors.ts'
import {
  type BatchLimits,
  type ResolvedBatch,
  type ResolvedCircuitBreaker,
  type ResolvedRateLimit,
  resolveBatch,
  resolveCircuitBreaker,
  resolveRateLimit,
} from './batch-rate-breaker-options.ts'
import { requireComplete } from './complete-declarations.ts'
import type {
  BatchBinding,
  Binding,
  ConsumerBinding,
  ConsumerOptions,
  DeclaredConsumer,
  PollBinding,
  SinkBinding,
  SourceBinding,
  SourceOptions,
} from './declarations.ts'

/** Options of a consumer with all defaults applied. */
export interface ResolvedConsumer {
  readonly name: string
  readonly group: string | null
  readonly concurrency: number
  readonly maxAttempts: number
  readonly backoff: Backoff
  readonly retry: 'blocking' | 'delayed'
  readonly retryable: (error: Error) => boolean
  readonly onFailure: 'dead-letter' | 'drop' | 'halt'
  readonly prefetch: number
  readonly prefetchBytes: number
  readonly autoStart: boolean
  /** True if its handler runs in a transaction that the binding begins. */
  readonly isInTransaction: boolean
  /** True only with an inbox, and if several messages can be ready. */
  readonly sharesTransactions: boolean
  /** Limits of a batch consumer. */
  readonly batch: ResolvedBatch | undefined
  readonly rateLimit: ResolvedRateLimit | undefined
  readonly circuitBreaker: ResolvedCircuitBreaker | undefined
  readonly slowAfterMs: number
}

const MAX_PREFETCH = 65_535
const DEFAULTS = Object.freeze({
  concurrency: 1,
  maxAttempts: 3,
  prefetch: 200,
  prefetchBytes: 16 * 1024 * 1024,
  keepMs: 5 * SECOND,
  slowAfterMs: 30 * SECOND,
})

/** Pauses between attempts to reach the broker, for subscriptions, outputs and dead letters. */
export const RECONNECT_BACKOFF: Backoff = Object.freeze({ initialMs: 100, factor: 2, maxMs: 5 * SECOND, jitter: 0.2 })

const CONSUMER_NAMES = optionNames<SinkBinding['options']>({
  group: true,
  name: true,
  concurrency: true,
  maxAttempts: true,
  backoff: true,
  retry: true,
  retryable: true,
  onFailure: true,
  prefetch: true,
  prefetchBytes: true,
  autoStart: true,
  rateLimit: true,
  circuitBreaker: true,
  slowAfterMs: true,
  middleware: true,
  once: true,
  inbox: true,
  settlesIn: true,
  sharesTransactions: true,
})

const POLL_NAMES = optionNames<PollBinding['options']>({
  group: true,
  name: true,
  maxAttempts: true,
  backoff: true,
  retry: true,
  retryable: true,
  onFailure: true,
  slowAfterMs: true,
  middleware: true,
  once: true,
  inbox: true,
  keepMs: true,
})

const BATCH_NAMES: ReadonlySet<string> = new Set(
  [...CONSUMER_NAMES, 'batch'].filter((name) => name !== 'sharesTransactions' && name !== 'settlesIn'),
)

const NAMES_OF = { sink: CONSUMER_NAMES, processor: CONSUMER_NAMES, batch: BATCH_NAMES, poll: POLL_NAMES } as const

const SOURCE_NAMES = optionNames<SourceOptions>({ name: true, everyMs: true, slowAfterMs: true })

/** Merges with the defaults and checks. @throws TypeError / RangeError naming the binding and the option */
export function resolveConsumer(binding: ConsumerBinding | BatchBinding | PollBinding): ResolvedConsumer {
  const { input, kind } = binding
  const options: Omit<ConsumerOptions, 'middleware'> & { readonly batch?: BatchLimits | undefined } = binding.options
  const path = pathOf(binding)
  requireComplete(path, binding)
  if ((kind === 'batch' || kind === 'poll') && 'settlesIn' in options && options.settlesIn !== undefined)
    throw new BinderError('binder.cannot_settle_in', { path: `${path}.settlesIn`, channel: input.name, why: kind })
  refuseUnknown(path, options, NAMES_OF[kind])
  if (kind !== 'poll' && typeof binding.handler !== 'function')
    throw invalidOption(`${path} handler`, binding.handler, 'a function')
  const group =
    options.group === undefined && kind !== 'poll' ? null : checkName(`${path}.group`, options.group ?? '', 100)
  checkInbox(path, binding, group)
  const onFailure = options.onFailure ?? (group === null ? 'drop' : 'dead-letter')
  if (!['dead-letter', 'drop', 'halt'].includes(onFailure)) {
    throw invalidOption(`${path}.onFailure`, onFailure, "'dead-letter', 'drop' or 'halt'")
  }
  if (onFailure === 'dead-letter' && group === null) {
    throw invalidOption(`${path}.onFailure`, onFailure, "a group for dead letters, or 'drop' without one")
  }
  const backoff = resolveBackoff(`${path}.backoff`, options.backoff)
  const concurrency = requireInteger(`${path}.concurrency`, options.concurrency ?? DEFAULTS.concurrency, 1, 10_000)
  const rateLimit = resolveRateLimit(`${path}.rateLimit`, options.rateLimit)
  const batch = binding.kind === 'batch' ? resolveBatch(`${path}.batch`, options.batch) : undefined
  return Object.freeze({
    name: requireText(`${path}.name`, options.name ?? `${input.name}.${group ?? 'anonymous'}`),
    group,
    concurrency,
    maxAttempts: requireInteger(`${path}.maxAttempts`, options.maxAttempts ?? DEFAULTS.maxAttempts, 1),
    backoff,
    retry: resolveRetry(path, options.retry, group, backoff),
    retryable: resolveRetryable(path, options.retryable),
    onFailure,
    prefetch: requireInteger(
      `${path}.prefetch`,
      options.prefetch ?? (kind === 'poll' ? 1 : defaultPrefetch(concurrency, rateLimit, batch)),
      Math.max(concurrency, batch?.maxSize ?? 1),
      MAX_PREFETCH,
    ),
    prefetchBytes: requireInteger(`${path}.prefetchBytes`, options.prefetchBytes ?? DEFAULTS.prefetchBytes, 1),
    autoStart: kind !== 'poll' && requireBoolean(`${path}.autoStart`, options.autoStart ?? true),
    isInTransaction: isInTransaction(binding.options),
    sharesTransactions: resolveSharing(path, binding.options, concurrency),
    batch,
    rateLimit,
    circuitBreaker: resolveCircuitBreaker(`${path}.circuitBreaker`, options.circuitBreaker),
    slowAfterMs: requireInteger(`${path}.slowAfterMs`, options.slowAfterMs ?? DEFAULTS.slowAfterMs, 1),
  })
}

/**
 * Returns the default. A slow binding leaves later messages at the broker, because other members could take them, and RabbitMQ
 * times out unacknowledged ones.
 */
function defaultPrefetch(
  concurrency: number,
  rateLimit: ResolvedRateLimit | undefined,
  batch: ResolvedBatch | undefined,
): number {
  const soon = rateLimit === undefined ? MAX_PREFETCH : Math.max(rateLimit.burst, rateLimit.perSecond * 10)
  // Room for the next batches while the present ones are handled.
  const wanted = Math.max(DEFAULTS.prefetch, 2 * concurrency * (batch?.maxSize ?? 0))
  const least = Math.max(concurrency, batch?.maxSize ?? 1)
  return Math.min(Math.max(Math.ceil(Math.min(wanted, soon)), least), MAX_PREFETCH)
}

function resolveRetry(path: string, retry: unknown, group: string | null, backoff: Backoff): 'blocking' | 'delayed' {
  if (retry === undefined || retry === 'blocking') return 'blocking'
  if (retry !== 'delayed') throw invalidOption(`${path}.retry`, retry, "'blocking' or 'delayed'")
  if (group === null) {
    throw invalidOption(`${path}.retry`, retry, "a group for the messages to come back to, or 'blocking' without one")
  }
  requireInteger(`${path}.backoff.maxMs`, backoff.maxMs, 0, MAX_DELAY_MS)
  return 'delayed'
}

function isInTransaction(options: object): boolean {
  const { inbox, settlesIn } = options as DeclaredConsumer
  return inbox !== undefined || settlesIn !== undefined
}

function resolveSharing(path: string, options: object, concurrency: number): boolean {
  const { sharesTransactions: shares } = options as DeclaredConsumer
  if (shares !== undefined) requireBoolean(`${path}.sharesTransactions`, shares)
  if (shares !== undefined && !isInTransaction(options))
    throw invalidOption(`${path}.sharesTransactions`, shares, 'once: true or an inbox, whose transactions are shared')
  return isInTransaction(options) && concurrency > 1 && (shares ?? true)
}

const CALLED = { sink: 'sink', processor: 'processor', poll: 'pollable' } as const

/** Returns the name of a declaration in error messages. */
export function pathOf({ kind, input, output }: ConsumerBinding | BatchBinding | PollBinding): string {
  const called = kind !== 'batch' ? CALLED[kind] : output === undefined ? 'sinkBatch' : 'processorBatch'
  return `${called}("${input.name}")`
}

/** Returns its name for `binder.binding(name)`. @throws TypeError / RangeError naming the binding and the option */
export function nameOfBinding(binding: Binding): string {
  return (binding.kind === 'source' ? resolveSource(binding) : resolveConsumer(binding)).name
}

/** @throws TypeError / RangeError naming the binding and the option */
export function resolveKeepMs(binding: PollBinding): number {
  return requireInteger(`${pathOf(binding)}.keepMs`, binding.options.keepMs ?? DEFAULTS.keepMs, 0, 24 * 60 * MINUTE)
}

function checkInbox(path: string, binding: ConsumerBinding | BatchBinding | PollBinding, group: string | null): void {
  const { inbox } = binding.options
  if (group === null && 'settlesIn' in binding.options && binding.options.settlesIn !== undefined)
    throw invalidOption(`${path}.group`, undefined, 'a group, whose place is settled')
  if (inbox === undefined) return
  if (!hasMethods(inbox, ['process'])) throw invalidOption(`${path}.inbox`, inbox, 'an inbox made by createInbox')
  if (group === null)
    throw invalidOption(`${path}.group`, undefined, 'a group, which an inbox needs to know its duplicates')
  if (binding.kind === 'batch' && typeof inbox.processBatch !== 'function')
    throw invalidOption(`${path}.inbox`, inbox, 'an inbox with processBatch, such as createInbox() makes')
  if ((binding.kind === 'processor' || binding.output !== undefined) && !inbox.hasOutbox) {
    throw invalidOption(
      `${path}.inbox`,
      'an inbox without outbox',
      'createInbox({ outbox }) so that outputs join the transaction',
    )
  }
}

function resolveRetryable(path: string, refine: ((error: Error) => boolean) | undefined): (error: Error) => boolean {
  if (refine === undefined) return isRetryable
  if (typeof refine !== 'function') throw invalidOption(`${path}.retryable`, refine, 'a function')
  return (error) => isRetryable(error) && refine(error)
}

/** Options of a source with all defaults applied. */
export interface ResolvedSource {
  readonly name: string
  readonly everyMs: number
  readonly slowAfterMs: number
}

/** @throws TypeError / RangeError naming the binding and the option */
export function resolveSource(binding: SourceBinding): ResolvedSource {
  const path = `source("${binding.output.name}")`
  refuseUnknown(path, binding.options, SOURCE_NAMES)
  if (typeof binding.poll !== 'function') throw invalidOption(`${path} poll`, binding.poll, 'a function')
  return Object.freeze({
    name: requireText(`${path}.name`, binding.options.name ?? `${binding.output.name}.source`),
    everyMs: requireInteger(`${path}.everyMs`, binding.options.everyMs, 0, 24 * 60 * MINUTE),
    slowAfterMs: requireInteger(`${path}.slowAfterMs`, binding.options.slowAfterMs ?? DEFAULTS.slowAfterMs, 1),
  })
}
