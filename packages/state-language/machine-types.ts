/** A machine of the state language, validated and with its expressions parsed. */
import type { Expression, Template } from './expression.ts'

/** `SU`: succeeded. `FA`: failed, certainly without an effect. `UN`: failed, perhaps with one. */
export type Verdict = 'SU' | 'FA' | 'UN'

export interface StateMachine {
  readonly name: string
  readonly startState: string
  readonly states: ReadonlyMap<string, State>
}

export type State = TaskState | ChoiceState | TriggerState | EndState

interface Named {
  readonly name: string
}

/** A state that calls something: a service, a script, another machine, or the compensation of one. */
export interface TaskState extends Named {
  readonly type: 'ServiceTask' | 'ScriptTask' | 'SubStateMachine' | 'CompensateSubMachine'
  readonly next: string | undefined
  /** The compensating state; `null`: a sub-machine without one, which compensates itself. */
  readonly compensateState: string | null | undefined
  readonly isForCompensation: boolean
  readonly isForUpdate: boolean
  /** Its result is ignored. */
  readonly isAsync: boolean
  /** `<ServiceName>.<ServiceMethod>`, or the name of the state whose script was registered; `''` for machines. */
  readonly calls: string
  /** The machine that it runs; `''` for others. */
  readonly machine: string
  readonly input: readonly Template[]
  readonly output: ReadonlyArray<readonly [name: string, value: Template]>
  readonly status: readonly StatusRule[]
  readonly retry: readonly RetryRule[]
  readonly catches: readonly CatchRule[]
  readonly loop: Loop | undefined
}

/** The first matching rule gives the verdict. */
export interface StatusRule {
  readonly verdict: Verdict
  /** Condition on the result. */
  readonly holds?: Expression | undefined
  /** True for an exception of this class. */
  readonly exception?: string | undefined
}

export interface RetryRule {
  /** `undefined`: exceptions of the network. */
  readonly exceptions: readonly string[] | undefined
  readonly intervalMs: number
  /** Number of further calls. */
  readonly maxAttempts: number
  readonly backoffRate: number
}

export interface CatchRule {
  readonly exceptions: readonly string[]
  readonly next: string
}

export interface Loop {
  readonly parallel: number
  readonly collection: Template
  readonly element: string
  readonly index: string
  readonly isComplete: Expression
}

export interface ChoiceState extends Named {
  readonly type: 'Choice'
  readonly choices: ReadonlyArray<{ readonly holds: Expression; readonly next: string }>
  readonly otherwise: string | undefined
}

export interface TriggerState extends Named {
  readonly type: 'CompensationTrigger'
  readonly next: string | undefined
}

export interface EndState extends Named {
  readonly type: 'Succeed' | 'Fail'
  readonly errorCode: string | undefined
  readonly message: string | undefined
}

export function isTask(state: State | undefined): state is TaskState {
  return state !== undefined && 'isForUpdate' in state
}

/** Possible next states of a state. */
export function nextOf(state: State): readonly string[] {
  if (state.type === 'Choice') {
    const chosen = state.choices.map(({ next }) => next)
    return state.otherwise === undefined ? chosen : [...chosen, state.otherwise]
  }
  const next = 'next' in state && state.next !== undefined ? [state.next] : []
  return isTask(state) ? [...next, ...state.catches.map((rule) => rule.next)] : next
}
