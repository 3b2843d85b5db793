/** Steps that call nothing: a timer, and the wait for a signal. */

import { type Channel, requireChannel } from '../../binder/channel/channel.ts'
import { notAwaited } from '../../core/callbacks.ts'
import { type Clock, DAY } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames } from '../../core/options.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SagaEvent } from '../machine/event.ts'
import type { RetryPolicy, StepState } from '../machine/state.ts'
import type { RequestContext } from './contexts.ts'
import { MAX_TIMEOUT_MS, stepPath } from './resolve.ts'
import type { Saga, SignalDefinition, TimerDefinition } from './saga.ts'
import type { MessageSignalOptions, SignalOptions, TimerOptions } from './step-options.ts'

const TIMER_NAMES = optionNames<TimerOptions<unknown, object>>({ delay: true })
const SIGNAL_NAMES = optionNames<SignalOptions<StandardSchemaV1> & MessageSignalOptions<unknown, unknown>>({
  payload: true,
  timeoutMs: true,
  from: true,
  correlate: true,
})
/** The longest delay of a timer: 10,000 years of 365 days, which PostgreSQL can still add to the present time. */
const MAX_DELAY_MS = 10_000 * 365 * DAY
const ONCE: RetryPolicy = Object.freeze({
  maxAttempts: 1,
  backoff: Object.freeze({ initialMs: 1, factor: 1, maxMs: 1, jitter: 0 }),
})
const NO_CALL = Object.freeze({
  remote: false,
  transactional: true,
  pivot: false,
  compensates: false,
  invoke: ONCE,
  compensate: ONCE,
})

/** The options as they come: unchecked, possibly from plain JavaScript. */
interface Raw {
  readonly delay?: unknown
  readonly payload?: Partial<StandardSchemaV1> | undefined
  readonly timeoutMs?: number | undefined
  readonly from?: unknown
  readonly correlate?: unknown
}

export function resolveTimer(method: string, name: string, options: Raw): TimerDefinition {
  const path = stepPath(method, name, options, TIMER_NAMES)
  const { delay } = options
  const fits = typeof delay === 'function' || (typeof delay === 'number' && delay >= 0 && delay <= MAX_DELAY_MS)
  if (!fits) {
    const expected = `milliseconds from 0 to ${MAX_DELAY_MS}, or a function that gives them or a Date`
    throw invalidOption(`${path}.delay`, delay, expected)
  }
  return Object.freeze({
    ...NO_CALL,
    name,
    kind: 'timer' as const,
    awaits: 'time' as const,
    timeoutMs: 1,
    delay: delay as TimerDefinition['delay'],
  })
}

export function resolveSignal(method: string, name: string, options: Raw): SignalDefinition {
  const path = stepPath(method, name, options, SIGNAL_NAMES)
  const { payload, from, correlate, timeoutMs } = options
  if ((payload === undefined) === (from === undefined)) {
    throw new TypeError(`${path}: expected either payload (for coordinator.signal) or from (a channel)`)
  }
  if (payload !== undefined && typeof payload['~standard']?.validate !== 'function') {
    throw invalidOption(`${path}.payload`, payload, 'a Standard Schema such as z.object({...})')
  }
  if (from !== undefined) requireChannel(`${path}.from`, from as Channel)
  if ((typeof correlate === 'function') !== (from !== undefined)) {
    throw invalidOption(`${path}.correlate`, correlate, 'a function from the message to the id of its saga, with from')
  }
  return Object.freeze({
    ...NO_CALL,
    name,
    kind: 'signal' as const,
    awaits: 'signal' as const,
    timeoutMs:
      timeoutMs === undefined
        ? Number.POSITIVE_INFINITY
        : requireInteger(`${path}.timeoutMs`, timeoutMs, 1, MAX_TIMEOUT_MS),
    payload: payload as StandardSchemaV1 | undefined,
    from: from as Channel | undefined,
    correlate: correlate as SignalDefinition['correlate'],
  })
}

/** The signal that came before a conditional step was known to be needed. */
export function keptSignal(state: StepState | undefined): SagaEvent | undefined {
  if (state?.signal === undefined) return undefined
  return { type: 'signalled', step: state.step, ...state.signal }
}

/** The steps of a saga that wait for messages. */
export function signalSteps(saga: Saga): readonly (SignalDefinition & { readonly from: Channel })[] {
  return saga.steps.flatMap((step) =>
    step.kind === 'signal' && step.from !== undefined ? [{ ...step, from: step.from }] : [],
  )
}

/** For which steps of which sagas a message is; several versions of a saga ask once. */
export function correlated(
  steps: readonly SignalDefinition[],
  channel: string,
  payload: unknown,
): readonly { readonly step: string; readonly id: string }[] {
  const found = new Map<string, { readonly step: string; readonly id: string }>()
  for (const { name: step, from, correlate } of steps) {
    const id = from?.name === channel ? notAwaited(correlate?.(payload)) : undefined
    if (typeof id === 'string') found.set(`${step}/${id}`, { step, id })
  }
  return [...found.values()]
}

/** @throws TypeError / RangeError when the definition's function gives neither a duration nor a moment */
export function delayOf({ name, delay }: TimerDefinition, context: RequestContext, clock: Clock): number {
  const given = typeof delay === 'function' ? notAwaited(delay(context)) : delay
  const ms = given instanceof Date ? given.getTime() - clock.now() : given
  const path = `timer("${name}").delay`
  if (typeof ms !== 'number' || !Number.isFinite(ms)) {
    throw invalidOption(path, given, 'finite milliseconds, or a valid Date')
  }
  if (ms > MAX_DELAY_MS) throw invalidOption(path, given, `at most ${MAX_DELAY_MS} ms from now`)
  return Math.max(0, ms)
}
