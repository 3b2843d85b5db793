/** The script of a saga that is a machine: determines its next action from the results of its steps. */

import type { ScriptTurn, StepFailure, StepState } from './engine-types.ts'
import { Frame } from './frame.ts'
import { Interpreter } from './interpreter.ts'
import type { Thrown } from './java-exceptions.ts'
import type { StateMachine, Verdict } from './machine-types.ts'
import { StepResults, type Suspended } from './replayed-step-results.ts'
import { BRANCHES } from './task-execution.ts'

/** Outcome of a machine of the state language: the result of the saga's step `outcome`. */
export interface StateMachineOutcome {
  /** `SU`: it succeeded. `FA`: it failed and changed nothing. `UN`: it failed, and some effects may remain. */
  readonly status: Verdict
  /** Verdict of its compensations; absent if none was started. After `SU` of a later run: `FA`. */
  readonly compensationStatus?: Verdict | undefined
  /** The variables at its end. */
  readonly endParams: Readonly<Record<string, unknown>>
  /** Exception that ended it, or that caused the compensation. */
  readonly exception?: { readonly name: string; readonly message: string } | undefined
  /** Each execution of a state, in the order in which they started, including compensations and sub-machines. */
  readonly states: readonly StateExecution[]
}

/** An execution of a state of a machine. */
export interface StateExecution {
  /** `ReduceBalance`, `Notify-loop-2`. */
  readonly name: string
  readonly status: Verdict
  /** Verdict of its compensation; absent without one. */
  readonly compensationStatus?: Verdict | undefined
  readonly isForCompensation: boolean
  /** True if it was repeated: this one no longer counts. */
  readonly isSuperseded: boolean
  /** Executions of a sub-machine. */
  readonly states?: readonly StateExecution[] | undefined
}

/** Next turn of a machine: pure, and the same in every process. */
export function nextTurn(
  machines: ReadonlyMap<string, StateMachine>,
  machine: StateMachine,
  steps: readonly StepState[],
): ScriptTurn {
  const [first] = steps
  const { params, key } = (first?.result ?? {}) as { readonly params?: Record<string, unknown>; readonly key?: string }
  const rows = new StepResults(steps)
  const frame = new Frame(machine, '', params ?? {})
  const course = play(new Interpreter(machines, rows, key ?? ''), frame, rows)
  const step = course.next()
  return step.done === true ? endOf(frame, step.value) : { grow: rows.wanted }
}

/** Runs the machine, then the actions of operators, one after the other. @returns the step for the next action */
function* play(interpreter: Interpreter, frame: Frame, rows: StepResults): Suspended<string> {
  yield* interpreter.run(frame, frame.machine.startState)
  for (let n = 1; ; n++) {
    const recovery = `${BRANCHES.recovery} ${n}`
    const ordered = rows.order(recovery) as { readonly do?: string } | undefined
    if (ordered === undefined) return recovery
    if (ordered.do === 'compensate') yield* interpreter.compensate(frame)
    else yield* interpreter.forward(frame, ordered.do === 'skip')
  }
}

function endOf(frame: Frame, recovery: string): ScriptTurn {
  const result = outcomeOf(frame)
  const { status, compensationStatus } = result
  if (compensationStatus === 'SU') return { end: 'compensated', result, recovery, failure: failureOf(frame) }
  if (status === 'SU' && (compensationStatus === undefined || compensationStatus === 'FA')) {
    return { end: 'completed', result, recovery }
  }
  const isOver = status === 'FA' && compensationStatus === undefined
  return { end: isOver ? 'compensated' : 'stuck', result, recovery, failure: failureOf(frame) }
}

function outcomeOf({ verdict = 'UN', compensation, context, thrown, executions }: Frame): StateMachineOutcome {
  return {
    status: verdict,
    ...(compensation !== undefined && compensation !== 'RU' && { compensationStatus: compensation }),
    endParams: context,
    ...(thrown !== undefined && { exception: { name: nameOf(thrown), message: thrown.message } }),
    states: statesOf(executions),
  }
}

function statesOf(executions: Frame['executions']): readonly StateExecution[] {
  return executions.map(({ name, state, verdict = 'UN', compensation, isSuperseded, frame }) => ({
    name,
    status: verdict,
    ...(compensation?.verdict !== undefined && { compensationStatus: compensation.verdict }),
    isForCompensation: state.isForCompensation,
    isSuperseded,
    ...(frame !== undefined && { states: statesOf(frame.executions) }),
  }))
}

function failureOf({ thrown, context, verdict, compensation }: Frame): StepFailure {
  const code = context['_statemachine_error_code_']
  const message = context['_statemachine_error_message_']
  if (typeof code === 'string') return { code, message: typeof message === 'string' ? message : code }
  if (thrown !== undefined) return { code: nameOf(thrown), message: thrown.message }
  return { code: 'saga.state_machine', message: `it ended ${verdict ?? 'UN'}, compensation ${compensation ?? 'none'}` }
}

/** The most specific name: a code, otherwise the class. */
function nameOf({ names }: Thrown): string {
  return names.findLast((name) => name !== 'Error') ?? 'Error'
}
