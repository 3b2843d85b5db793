import { type Backoff, resolveBackoff } from '../core/backoff.ts'
import { MINUTE, SECOND } from '../core/clock.ts'
import { invalidOption, isRetryable, requireInteger, requireText } from '../core/errors.ts'
import { optionNames, refuseUnknown } from '../core/options.ts'
import type { ProcessorBinding, SinkBinding, SourceBinding, SourceOptions } from './binding.ts'
import { checkName } from './channel.ts'

/** A consumer's options with every default filled in. */
export interface ResolvedConsumer {
  readonly name: string
  readonly group: string | null
  readonly concurrency: number
  readonly maxAttempts: number
  readonly backoff: Backoff
  readonly retryable: (error: Error) => boolean
  readonly onFailure: 'dead-letter' | 'drop' | 'halt'
  readonly prefetch: number
  readonly prefetchBytes: number
  readonly autoStart: boolean
}

const DEFAULTS = Object.freeze({
  concurrency: 1,
  maxAttempts: 3,
  prefetch: 200,
  prefetchBytes: 16 * 1024 * 1024,
})

/** Pause between attempts to reach the broker: for subscriptions, and for outputs and dead letters that must get out. */
export const RECONNECT_BACKOFF: Backoff = Object.freeze({ initialMs: 100, factor: 2, maxMs: 5 * SECOND, jitter: 0.2 })

const CONSUMER_NAMES = optionNames<SinkBinding['options']>({
  group: true,
  name: true,
  concurrency: true,
  maxAttempts: true,
  backoff: true,
  retryable: true,
  onFailure: true,
  prefetch: true,
  prefetchBytes: true,
  autoStart: true,
  inbox: true,
})

const SOURCE_NAMES = optionNames<SourceOptions>({ name: true, everyMs: true })

/** Merges with the defaults and checks. @throws TypeError / RangeError naming the binding and the option */
export function resolveConsumer(binding: SinkBinding | ProcessorBinding): ResolvedConsumer {
  const { options, input } = binding
  const path = `${binding.kind}("${input.name}")`
  refuseUnknown(path, options, CONSUMER_NAMES)
  if (typeof binding.handler !== 'function') throw invalidOption(`${path} handler`, binding.handler, 'a function')
  const group = options.group === undefined ? null : checkName(`${path}.group`, options.group, 100)
  checkInbox(path, binding, group)
  const onFailure = options.onFailure ?? (group === null ? 'drop' : 'dead-letter')
  if (!['dead-letter', 'drop', 'halt'].includes(onFailure)) {
    throw invalidOption(`${path}.onFailure`, onFailure, "'dead-letter', 'drop' or 'halt'")
  }
  if (onFailure === 'dead-letter' && group === null) {
    throw invalidOption(`${path}.onFailure`, onFailure, "a group for dead letters, or 'drop' without one")
  }
  const concurrency = requireInteger(`${path}.concurrency`, options.concurrency ?? DEFAULTS.concurrency, 1, 10_000)
  return Object.freeze({
    name: requireText(`${path}.name`, options.name ?? `${input.name}.${group ?? 'anonymous'}`),
    group,
    concurrency,
    maxAttempts: requireInteger(`${path}.maxAttempts`, options.maxAttempts ?? DEFAULTS.maxAttempts, 1),
    backoff: resolveBackoff(`${path}.backoff`, options.backoff),
    retryable: resolveRetryable(path, options.retryable),
    onFailure,
    prefetch: requireInteger(
      `${path}.prefetch`,
      options.prefetch ?? Math.max(DEFAULTS.prefetch, concurrency),
      concurrency,
      65_535,
    ),
    prefetchBytes: requireInteger(`${path}.prefetchBytes`, options.prefetchBytes ?? DEFAULTS.prefetchBytes, 1),
    autoStart: resolveAutoStart(path, options.autoStart),
  })
}

function resolveAutoStart(path: string, autoStart: boolean | undefined): boolean {
  if (autoStart === undefined || typeof autoStart === 'boolean') return autoStart ?? true
  throw invalidOption(`${path}.autoStart`, autoStart, 'true or false')
}

function checkInbox(path: string, binding: SinkBinding | ProcessorBinding, group: string | null): void {
  const { inbox } = binding.options
  if (inbox === undefined) return
  if (typeof inbox.process !== 'function') throw invalidOption(`${path}.inbox`, inbox, 'an inbox made by createInbox')
  if (group === null)
    throw invalidOption(`${path}.group`, undefined, 'a group, which an inbox needs to know its duplicates')
  if (binding.kind === 'processor' && !inbox.hasOutbox) {
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

/** @throws TypeError / RangeError naming the binding and the option */
export function resolveSource(binding: SourceBinding): { readonly name: string; readonly everyMs: number } {
  const path = `source("${binding.output.name}")`
  refuseUnknown(path, binding.options, SOURCE_NAMES)
  if (typeof binding.poll !== 'function') throw invalidOption(`${path} poll`, binding.poll, 'a function')
  return Object.freeze({
    name: requireText(`${path}.name`, binding.options.name ?? `${binding.output.name}.source`),
    everyMs: requireInteger(`${path}.everyMs`, binding.options.everyMs, 0, 24 * 60 * MINUTE),
  })
}
