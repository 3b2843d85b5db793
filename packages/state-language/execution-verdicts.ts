/** Decides the verdicts of states and machines. Pure. */
import { isA, networkFailure, type Thrown } from './java-exceptions.ts'
import type { TaskState, Verdict } from './machine-types.ts'

/** An execution of a state. */
export interface Execution {
  /** Name in the timeline: `ReduceBalance`, `Notify-loop-2`, `ReduceBalance.1` after an operator's retry. */
  readonly row: string
  /** `ReduceBalance`, `Notify-loop-2`: unchanged when it is tried again. */
  readonly name: string
  readonly state: TaskState
  verdict: Verdict | undefined
  /** True if it was repeated: it no longer counts. */
  isSuperseded: boolean
  /** Execution that compensated it. */
  compensation: Execution | undefined
}

/**
 * The verdict of one execution; `undefined`: no rule matched, and there is no exception.
 * @param inDoubt an earlier call of it may have taken effect: then the result of the last call cannot make it `FA`
 */
export function verdictOf(
  state: TaskState,
  value: unknown,
  thrown: Thrown | undefined,
  inDoubt: boolean,
): Verdict | undefined {
  const verdict = verdictOfCall(state, value, thrown)
  const mayChange = state.isForUpdate || state.isForCompensation
  return inDoubt && mayChange && verdict !== 'SU' ? 'UN' : verdict
}

/** Verdict of a single call. @throws TypeError when the values do not fit a rule */
export function verdictOfCall(
  { status, isForUpdate, isForCompensation, isAsync }: TaskState,
  value: unknown,
  thrown: Thrown | undefined,
): Verdict | undefined {
  if (status.length > 0 && !isAsync) {
    const rule = status.find(({ exception, holds }) =>
      exception === undefined ? matches(holds, value, thrown) : thrown !== undefined && isA(thrown, exception),
    )
    if (rule !== undefined) return rule.verdict
    if (thrown === undefined) return undefined
  }
  if (thrown === undefined) return 'SU'
  if (!isForUpdate && !isForCompensation) return 'FA'
  return thrown.unsent === true ? 'FA' : 'UN'
}

/**
 * After an exception there is no result, so rules about the result do not apply. @throws TypeError when the values do not fit
 */
function matches(holds: ((root: unknown) => unknown) | undefined, value: unknown, thrown: Thrown | undefined): boolean {
  try {
    return holds?.(value ?? null) === true
  } catch (error) {
    if (thrown !== undefined) return false
    throw error
  }
}

/** Verdict of a run without an earlier decision. @param isSpecial it ended in a Fail state or by an exception */
export function machineVerdict(
  executions: readonly Execution[],
  thrown: Thrown | undefined,
  isSpecial: boolean,
): Verdict {
  const counted = executions.filter(({ isSuperseded, state }) => !isSuperseded && !state.isForCompensation)
  const decided = verdictOfAll(counted, thrown)
  if (!isSpecial || decided !== 'SU') return decided
  const hasTrace = executions.some(
    ({ isSuperseded, state }) => !isSuperseded && (state.isForUpdate || state.isForCompensation),
  )
  return hasTrace ? 'UN' : 'FA'
}

function verdictOfAll(counted: readonly Execution[], thrown: Thrown | undefined): Verdict {
  const updated = counted.some(
    ({ state, verdict }) => state.type === 'ServiceTask' && state.isForUpdate && verdict === 'SU',
  )
  if (counted.some(({ verdict }) => verdict === 'UN')) return 'UN'
  if (counted.some(({ verdict }) => verdict !== 'SU')) return updated ? 'UN' : 'FA'
  if (thrown === undefined) return 'SU'
  return updated || networkFailure(thrown) === 'read timeout' ? 'UN' : 'FA'
}

/**
 * @param left number of executions that are not compensated yet
 */
export function compensationVerdict(compensations: readonly Execution[], left: number): Verdict {
  const isEvery = (verdict: Verdict): boolean => compensations.every((each) => each.verdict === verdict)
  if (left === 0) return isEvery('SU') ? 'SU' : 'UN'
  return isEvery('FA') ? 'FA' : 'UN'
}

/** Executions to compensate, in the order in which they were made. */
export function toBeCompensated(executions: readonly Execution[]): readonly Execution[] {
  return executions.filter(({ isSuperseded, state, verdict, compensation }) => {
    const isUndoable = state.type === 'SubStateMachine' || (state.type === 'ServiceTask' && !state.isForCompensation)
    return isUndoable && !isSuperseded && verdict !== 'FA' && compensation?.verdict !== 'SU'
  })
}
