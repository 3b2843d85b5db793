/** Step options, merged with the defaults and checked. Everything here is called once, at definition. */
import { type Channel, checkName, requireChannel } from '../../binder/channel/channel.ts'
import { resolveBackoff } from '../../core/backoff.ts'
import { SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/options.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { RetryPolicy, StepShape } from '../machine/state.ts'
import type { CommandDefinition, LocalDefinition } from './saga.ts'
import type { CommandOptions, RetryOptions, StepOptions } from './step-options.ts'

const SAGA_DEFAULTS = Object.freeze({
  timeoutMs: 30 * SECOND,
  localAttempts: 3,
  commandAttempts: 5,
  forwardAttempts: 10,
  compensationAttempts: 10,
})

export const MAX_TIMEOUT_MS = 2 ** 31 - 1

const COMMON = { pivot: true, compensate: true, timeoutMs: true, retry: true, compensationRetry: true } as const
const STEP_NAMES = optionNames<StepOptions<unknown, object, unknown, boolean>>({
  ...COMMON,
  transactional: true,
  invoke: true,
})
const COMMAND_NAMES = optionNames<CommandOptions<unknown, object, unknown, StandardSchemaV1>>({
  ...COMMON,
  to: true,
  request: true,
  reply: true,
})
const RETRY_NAMES = optionNames<RetryOptions>({
  maxAttempts: true,
  initialMs: true,
  factor: true,
  maxMs: true,
  jitter: true,
})

/** The options as they come: unchecked, possibly from plain JavaScript. */
interface Raw {
  readonly transactional?: unknown
  readonly pivot?: unknown
  readonly invoke?: unknown
  readonly compensate?: unknown
  readonly timeoutMs?: number | undefined
  readonly retry?: RetryOptions | undefined
  readonly compensationRetry?: RetryOptions | undefined
  readonly to?: Partial<Channel> | undefined
  readonly request?: unknown
  readonly reply?: Partial<StandardSchemaV1> | undefined
}

export function resolveLocal(method: string, name: string, options: Raw, pivoted: boolean): LocalDefinition {
  const path = stepPath(method, name, options, STEP_NAMES)
  const { invoke, compensate } = options
  if (typeof invoke !== 'function') throw invalidOption(`${path}.invoke`, invoke, 'a function')
  if (compensate !== undefined && compensate !== 'none' && typeof compensate !== 'function') {
    throw invalidOption(`${path}.compensate`, compensate, "a function, or 'none'")
  }
  const transactional = requireFlag(`${path}.transactional`, options.transactional)
  return Object.freeze({
    ...common(path, name, options, pivoted, SAGA_DEFAULTS.localAttempts),
    kind: 'local' as const,
    remote: false as const,
    transactional,
    run: invoke as LocalDefinition['run'],
    undo: typeof compensate === 'function' ? (compensate as LocalDefinition['undo']) : undefined,
  })
}

export function resolveCommand(method: string, name: string, options: Raw, pivoted: boolean): CommandDefinition {
  const path = stepPath(method, name, options, COMMAND_NAMES)
  const { to, request, reply, compensate } = options
  requireChannel(`${path}.to`, to as Channel)
  if (typeof request !== 'function') throw invalidOption(`${path}.request`, request, 'a function')
  if (reply !== undefined && typeof reply['~standard']?.validate !== 'function') {
    throw invalidOption(`${path}.reply`, reply, 'a Standard Schema such as z.object({...})')
  }
  if (compensate !== undefined && compensate !== 'none' && compensate !== true) {
    throw invalidOption(`${path}.compensate`, compensate, "true (the participant undoes it), or 'none'")
  }
  return Object.freeze({
    ...patient(common(path, name, options, pivoted, SAGA_DEFAULTS.commandAttempts), options),
    kind: 'command' as const,
    remote: true as const,
    transactional: false,
    to: to as Channel,
    request: request as CommandDefinition['request'],
    reply: reply as StandardSchemaV1 | undefined,
  })
}

export function stepPath(method: string, name: string, options: Raw, known: ReadonlySet<string>): string {
  checkName(method, name, 100)
  const path = `${method}("${name}")`
  refuseUnknown(path, options, known)
  return path
}

function common(path: string, name: string, options: Raw, pivoted: boolean, attempts: number) {
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
    timeoutMs: requireInteger(`${path}.timeoutMs`, options.timeoutMs ?? SAGA_DEFAULTS.timeoutMs, 1, MAX_TIMEOUT_MS),
    invoke: resolveRetry(`${path}.retry`, options.retry, forward ? SAGA_DEFAULTS.forwardAttempts : attempts),
    compensate: resolveRetry(
      `${path}.compensationRetry`,
      options.compensationRetry,
      SAGA_DEFAULTS.compensationAttempts,
    ),
  }
}

/** A participant that is away is waited for, where the user has set no limit. */
function patient<Common extends Pick<StepShape, 'invoke' | 'compensate'>>(step: Common, options: Raw): Common {
  const without = (policy: RetryPolicy, asked: RetryOptions | undefined): RetryPolicy =>
    asked?.maxAttempts === undefined ? Object.freeze({ ...policy, patient: true }) : policy
  return {
    ...step,
    invoke: without(step.invoke, options.retry),
    compensate: without(step.compensate, options.compensationRetry),
  }
}

function requireFlag(path: string, value: unknown): boolean {
  if (value === undefined || typeof value === 'boolean') return value === true
  throw invalidOption(path, value, 'true or false')
}

function resolveRetry(path: string, options: RetryOptions | undefined, maxAttempts: number): RetryPolicy {
  refuseUnknown(path, options ?? {}, RETRY_NAMES)
  const { maxAttempts: asked, ...backoff } = options ?? {}
  return Object.freeze({
    maxAttempts: requireInteger(`${path}.maxAttempts`, asked ?? maxAttempts, 1, 1_000_000),
    backoff: resolveBackoff(path, backoff),
  })
}
