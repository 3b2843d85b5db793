/** Step options shared by several kinds, merged with the defaults and checked. Called once, at definition. */
import { checkName } from '../../binder/channel/channel.ts'
import { resolveBackoff } from '../../core/backoff.ts'
import { DAY, SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown, requireBoolean } from '../../core/option-checks.ts'
import type { RetryPolicy, StepShape } from '../machine/state.ts'
import type { StepPlace } from './kinds/kind.ts'
import type { CallOptions, RetryOptions } from './step-options.ts'

const DEFAULTS = Object.freeze({ timeoutMs: 30 * SECOND, compensationAttempts: 10 })

/** Default attempts of a step that cannot be undone. */
export const FORWARD_ATTEMPTS = 10

export const MAX_TIMEOUT_MS: number = 2 ** 31 - 1

/**
 * Longest delay of a step that waits for a time: 10,000 years of 365 days, which PostgreSQL can still add to the present time.
 */
export const MAX_DELAY_MS: number = 10_000 * 365 * DAY

/** Options of every step that makes a call. */
export const CALL_OPTIONS = {
  pivot: true,
  compensate: true,
  timeoutMs: true,
  retry: true,
  compensationRetry: true,
} as const
const RETRY_NAMES = optionNames<RetryOptions>({
  maxAttempts: true,
  initialMs: true,
  factor: true,
  maxMs: true,
  jitter: true,
})

/** Options as received: unchecked, possibly from plain JavaScript. */
export interface RawCallOptions extends CallOptions {
  readonly pivot?: unknown
  readonly compensate?: unknown
}

export const ONCE: RetryPolicy = Object.freeze({
  maxAttempts: 1,
  backoff: Object.freeze({ initialMs: 1, factor: 1, maxMs: 1, jitter: 0 }),
})

/** Facts of a step that calls nothing and leaves nothing behind when it is abandoned; `awaits` says what it waits for. */
export const WAITING_STEP = Object.freeze({
  remote: false,
  transactional: true,
  pivot: false,
  compensates: false,
  invoke: ONCE,
  compensate: ONCE,
})

/** Returns the path of the step for error messages. @throws TypeError for a bad name, or an unknown option */
export function stepPath({ method, name }: StepPlace, options: object, known: ReadonlySet<string>): string {
  checkName(method, name, 100)
  // Results are fields of an object with the names of the steps.
  if (name === '__proto__') throw invalidOption(method, name, 'another name than that of the prototype')
  const path = `${method}("${name}")`
  refuseUnknown(path, options, known)
  return path
}

/** @param attempts default attempts of `invoke` before the pivot */
export function resolveCall(
  path: string,
  { name, pivoted }: StepPlace,
  options: RawCallOptions,
  attempts: number,
): Omit<StepShape, 'remote' | 'transactional'> {
  const pivot = requireFlag(`${path}.pivot`, options.pivot)
  const forward = pivot || pivoted
  const { compensate } = options
  if (pivot && pivoted) throw new TypeError(`${path}.pivot: the saga already has a pivot, remove one of them`)
  if (forward && compensate !== undefined && compensate !== 'none') {
    const where = pivot ? 'the pivot' : 'a step after the pivot'
    throw new TypeError(
      `${path}.compensate: ${where} cannot be undone, there is only forward. Say 'none', or move the pivot down.`,
    )
  }
  if (!forward && compensate === undefined) {
    throw new TypeError(
      `${path}.compensate: not stated. Say how to undo the step, or 'none' when there is nothing to undo.`,
    )
  }
  return {
    name,
    pivot,
    compensates: !forward && compensate !== 'none',
    timeoutMs: requireInteger(`${path}.timeoutMs`, options.timeoutMs ?? DEFAULTS.timeoutMs, 1, MAX_TIMEOUT_MS),
    invoke: resolveRetry(`${path}.retry`, options.retry, forward ? FORWARD_ATTEMPTS : attempts),
    compensate: resolveRetry(`${path}.compensationRetry`, options.compensationRetry, DEFAULTS.compensationAttempts),
  }
}

/** Waits for an unavailable participant without limit, unless the user has set one. */
export function patient<Common extends Pick<StepShape, 'invoke' | 'compensate'>>(
  step: Common,
  options: RawCallOptions,
): Common {
  return {
    ...step,
    invoke: patientPolicy(step.invoke, options.retry),
    compensate: patientPolicy(step.compensate, options.compensationRetry),
  }
}

/** Applies the same to one operation. */
export function patientPolicy(policy: RetryPolicy, asked: RetryOptions | undefined): RetryPolicy {
  return asked?.maxAttempts === undefined ? Object.freeze({ ...policy, patient: true }) : policy
}

export function requireFlag(path: string, value: unknown): boolean {
  return value !== undefined && requireBoolean(path, value)
}

export function resolveRetry(path: string, options: RetryOptions | undefined, maxAttempts: number): RetryPolicy {
  refuseUnknown(path, options ?? {}, RETRY_NAMES)
  const { maxAttempts: asked, ...backoff } = options ?? {}
  return Object.freeze({
    maxAttempts: requireInteger(`${path}.maxAttempts`, asked ?? maxAttempts, 1, 1_000_000),
    backoff: resolveBackoff(path, backoff),
  })
}
