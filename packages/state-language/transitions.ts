/** The next state of a run, and its end. */

import { machineVerdict } from './execution-verdicts.ts'
import type { Frame, FramedExecution } from './frame.ts'
import type { Thrown } from './java-exceptions.ts'
import type { LoopPass } from './looping.ts'
import type { ChoiceState, Verdict } from './machine-types.ts'
import { messageOf } from './task-execution.ts'

/** Outcome of an execution. */
export interface Made {
  /** Uncaught exception. */
  readonly thrown?: Thrown | undefined
  /** Next state after its exception. */
  readonly caught?: string | undefined
  /** The engine cannot continue. */
  readonly raised?: Thrown | undefined
  readonly output: Record<string, unknown>
  readonly verdict: Verdict
}

/** The next state, or none: the machine has ended. */
export type Next = string | undefined

export function ended(frame: Frame): undefined {
  frame.end()
  return undefined
}

export function raised(frame: Frame, code: string, message: string): Made {
  return { raised: frame.raise(code, message), output: {}, verdict: 'FA' }
}

export function fail(
  frame: Frame,
  { errorCode, message }: { readonly errorCode?: string | undefined; readonly message?: string | undefined },
): void {
  frame.isFailEnd = true
  if (errorCode !== undefined) frame.context['_statemachine_error_code_'] = errorCode
  if (message !== undefined) frame.context['_statemachine_error_message_'] = message
}

export function choose(frame: Frame, { name, choices, otherwise }: ChoiceState): Next {
  try {
    const next = choices.find(({ holds }) => holds(frame.context) === true)?.next ?? otherwise
    if (next !== undefined) return next
    frame.raise('StateMachineNoChoiceMatched', `no choice of "${name}" matched`)
  } catch (error) {
    frame.raise('StateMachineNoChoiceMatched', `the choices of "${name}": ${messageOf(error)}`)
  }
  return undefined
}

/** Next state after a loop whose items have all ended. @param compensation of the machine before the loop */
export function afterLoop(
  frame: Frame,
  { state, visit }: LoopPass,
  compensation: Frame['compensation'],
  all: readonly Made[],
): Next {
  frame.openLoop = frame.raised && visit
  if (frame.raised !== undefined) {
    // The items that ran then have ended only now, perhaps with an effect.
    Object.assign(frame, { verdict: machineVerdict(frame.executions, frame.raised, true), compensation })
    return undefined
  }
  const routes = all.flatMap(({ caught }) => caught ?? [])
  const trigger = routes.find((name) => frame.machine.states.get(name)?.type === 'CompensationTrigger')
  const route = trigger ?? routes[0]
  if (route !== undefined) return route
  const thrown = all.find((each) => each.thrown !== undefined)?.thrown
  if (thrown === undefined) return state.next ?? ended(frame)
  frame.fail(thrown)
  return undefined
}

/**
 * The execution to repeat: the last forward one that was not compensated. `undefined`: there is none, or it must not be
 * repeated.
 */
export function lastForward({ executions }: Frame): FramedExecution | undefined {
  for (const execution of executions.toReversed()) {
    const { state, compensation, frame } = execution
    if (state.isForCompensation || compensation?.verdict === 'SU') continue
    const undone = frame === undefined ? compensation?.verdict : frame.compensation
    if (undone === 'SU') continue
    if (undone === 'UN') return undefined
    if (state.loop === undefined || execution.verdict !== 'SU') return execution
    const failed = executions.findLast(
      (other) =>
        other.state === state && other.visit === execution.visit && other.verdict !== 'SU' && !other.isSuperseded,
    )
    return failed ?? execution
  }
  return undefined
}
