/** `.timer(...)`: done when it is due. Calls nothing. */

import type { Clock } from '../../../core/clock.ts'
import { invalidOption } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import { notAwaited } from '../../../core/unawaited-callbacks.ts'
import { MAX_DELAY_MS, stepPath, WAITING_STEP } from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { RequestContext } from '../step-contexts.ts'
import type { StepKind } from './kind.ts'

/** Options of `.timer`. */
export interface TimerOptions<Input, Results extends object> {
  /**
   * How long to wait: milliseconds, or a point in time. Computed once, when the step begins, and stored. A point in the past, or
   * less than 0 ms, means now.
   */
  readonly delay: number | ((context: RequestContext<Input, Results>) => number | Date)
}

interface TimerDefinition extends StepDefinition {
  readonly delay: number | ((context: RequestContext) => unknown)
}

const NAMES = optionNames<TimerOptions<unknown, object>>({ delay: true })

export const TIMER: StepKind<TimerDefinition> = {
  name: 'timer',
  spans: { outcome: 'reply', due: 'timer' },
  resolve(place, options: { readonly delay?: unknown }) {
    const path = stepPath(place, options, NAMES)
    const { delay } = options
    const fits = typeof delay === 'function' || (typeof delay === 'number' && delay >= 0 && delay <= MAX_DELAY_MS)
    if (!fits) {
      const expected = `milliseconds from 0 to ${MAX_DELAY_MS}, or a function that gives them or a Date`
      throw invalidOption(`${path}.delay`, delay, expected)
    }
    return Object.freeze({
      ...WAITING_STEP,
      name: place.name,
      kind: TIMER,
      awaits: 'time',
      timeoutMs: 1,
      delay: delay as TimerDefinition['delay'],
    })
  },
  graphOf: () => ({}),
  tiesOf: () => ({}),
  prepare: async (step, prepared) => {
    const ms = delayOf(step, await prepared.context(), prepared.clock)
    return { type: 'armed', step: step.name, ms }
  },
}

/** @throws TypeError / RangeError when the definition's function returns neither a duration nor a point in time */
function delayOf({ name, delay }: TimerDefinition, context: RequestContext, clock: Clock): number {
  const given = typeof delay === 'function' ? notAwaited(delay(context)) : delay
  const ms = given instanceof Date ? given.getTime() - clock.now() : given
  const path = `timer("${name}").delay`
  if (typeof ms !== 'number' || !Number.isFinite(ms)) {
    throw invalidOption(path, given, 'finite milliseconds, or a valid Date')
  }
  if (ms > MAX_DELAY_MS) throw invalidOption(path, given, `at most ${MAX_DELAY_MS} ms from now`)
  return Math.max(0, ms)
}
