/**
 * What the machine works on: the shape of a saga (the definition without its functions) and the state of one instance.
 * Plain JSON data: the state is stored as it is.
 */
import type { Backoff } from '../../core/backoff.ts'
import { type Operation, operationIn } from './operation.ts'

/** How often an operation is called, and with which pauses. */
export interface RetryPolicy {
  /** Calls of one operation, the first included. */
  readonly maxAttempts: number
  /**
   * True: an unanswered call does not count. It is repeated without end, after ever longer pauses: the participant is unavailable, which is no
   * failure.
   */
  readonly patient?: true | undefined
  readonly backoff: Backoff
}

/** All the machine knows of a step. A new kind of participant is a new row of these facts, not a new machine. */
export interface StepShape {
  readonly name: string
  /** True: the call leaves as a message and the answer comes as one. False: this process runs a function. */
  readonly remote: boolean
  /** True: the effect commits together with the saga's advance, so a failed attempt certainly left nothing. */
  readonly transactional: boolean
  /** The point of no return: it can still be refused; once it is done there is only forward. */
  readonly pivot: boolean
  /** False: there is nothing to call to undo it. */
  readonly compensates: boolean
  /** Steps of one group (a number of their own, the first one's index) are open together. Never the pivot. */
  readonly group?: number | undefined
  /** True: whether it is needed is asked before it begins. */
  readonly conditional?: boolean | undefined
  /**
   * Set when nothing is called: the step is done when its time has come, when it is told so, or when the definition has
   * said what follows it (without `each` and `chooses`, the first item of its plan is its result). Such a step counts as transactional,
   * because it leaves nothing behind when it is given up.
   */
  readonly awaits?: 'time' | 'signal' | 'plan' | undefined
  /** For a step that awaits a plan: it becomes one step for each item of a list, placed after it. */
  readonly each?: EachShape | undefined
  /** For a step that awaits a plan: it chooses one of these branches of the steps after it. */
  readonly chooses?: readonly string[] | undefined
  /** The step is made only if these steps, each of which awaits a plan, have chosen it. */
  readonly choices?: readonly Choice[] | undefined
  /** True: it is repeated until it works, or parked, where any other step before the pivot turns the saga back. */
  readonly forward?: true | undefined
  /** How long one attempt may take: a reply, a local call, a signal (maybe `Infinity`). */
  readonly timeoutMs: number
  /** Longest pause between two unanswered calls, unless `timeoutMs` is longer. @default 10 minutes */
  readonly maxPauseMs?: number | undefined
  readonly invoke: RetryPolicy
  readonly compensate: RetryPolicy
  /**
   * Set when `invoke` only reserves: the step is confirmed when the saga is decided, and compensated when it turns back.
   * Such a step compensates, and stands before the pivot.
   */
  readonly confirm?: RetryPolicy | undefined
  /**
   * True: code of a global transaction, which adds branches while it runs. It is called once: only its process has it, so when that process is
   * gone the transaction turns back.
   */
  readonly code?: true | undefined
}

/** How the items of a list are made. */
export interface EachShape {
  /** Shape of each item. */
  readonly item: StepShape
  /** How many of them may be open together. */
  readonly atOnce: number
}

/** A step that chooses, and what it has to choose. */
export interface Choice {
  readonly of: string
  readonly is: string
}

/** A step that is added while a saga runs. */
export interface GrownStep {
  readonly step: string
  readonly branch: string
  readonly payload?: unknown
  readonly to?: string | undefined
}

/** Next action of a saga whose steps are not listed. */
export type ScriptTurn =
  /** These steps begin; none: those that are open are waited for. */
  | { readonly grow: readonly GrownStep[] }
  | {
      readonly end: 'completed' | 'compensated' | 'stuck'
      /** Its result: that of the step `outcome`. */
      readonly result: unknown
      /** Why it is not completed. */
      readonly failure?: StepFailure | undefined
      /** The step that takes what an operator orders from here. */
      readonly recovery: string
    }

/** The steps of a saga that are decided one after the other, after its first. */
export interface Script {
  /** Pure: decided by what the steps have come to. */
  next(steps: readonly StepState[]): ScriptTurn
  /** Branches that can be added; among them `outcome` and `recovery`. */
  readonly branches: Readonly<Record<string, StepShape>>
}

/** A saga as the machine sees it: its steps, in order. */
export interface SagaShape {
  readonly steps: readonly StepShape[]
  /** Branches that code may add while it runs, by name. The steps of its state are then more than those above. */
  readonly branches?: Readonly<Record<string, StepShape>> | undefined
  /** Set when what follows the first step is decided while it runs. That one awaits its plan, and is the pivot. */
  readonly script?: Script | undefined
}

/**
 * - `pending`: nothing was begun.
 * - `invoking`: the intent is durable, the call may have happened.
 * - `invoked`: it happened, the result is known.
 * - `refused`: the participant said no and did nothing. Nothing to undo.
 * - `failed`: given up with certainly no effect (transactional). Nothing to undo.
 * - `unknown`: given up, it may have happened. Undone like a success.
 * - `compensating`, `compensated`: the same backward.
 * - `confirming`, `confirmed`: for a reserving step: the saga is decided, and there is no way back.
 * - `skipped`: by an operator.
 * - `omitted`: its condition was false. Nothing to undo, no result.
 */
export type StepStatus =
  | 'pending'
  | 'invoking'
  | 'invoked'
  | 'confirming'
  | 'confirmed'
  | 'refused'
  | 'failed'
  | 'unknown'
  | 'compensating'
  | 'compensated'
  | 'skipped'
  | 'omitted'

/**
 * Wait of an open step: a running local `call`, a `reply` to a message, the `retry` time, an `operator` (the saga is stuck on it), its `time`,
 * a `signal` from outside, or the `plan` of the definition.
 */
export type Wait = 'call' | 'reply' | 'retry' | 'operator' | 'time' | 'signal' | 'plan'

/** Why a step failed or was refused: the code and the message of its error. */
export interface StepFailure {
  readonly code: string
  readonly message: string
}

/** All that the machine remembers of a step. */
export interface StepState {
  readonly step: string
  readonly status: StepStatus
  /** Attempts of the operation that is open or was the last. */
  readonly attempts: number
  readonly wait?: Wait | undefined
  /** When its time has come, in ms after this state was written: of a pause, a late reply, a timer, a late signal. */
  readonly leftMs?: number | undefined
  /** Number of unanswered attempts, for an operation that waits for its answer without end. */
  readonly unanswered?: number | undefined
  /** How many of these the participant answered with "not yet": it waits for another process. */
  readonly notYet?: number | undefined
  /** The latest attempt that a participant answered with a failure: each attempt counts once, also when its answer comes late. */
  readonly failedAttempt?: number | undefined
  /** An earlier attempt may have had an effect. */
  readonly doubt?: true | undefined
  /** How often an operator had it tried again. */
  readonly round?: number | undefined
  /** For a step that is undone after an operator's retry: the round in which it was last invoked. */
  readonly invokedIn?: number | undefined
  /** Calls that were cut short by the end of their process. */
  readonly orphans?: number | undefined
  /** For a participant's step that is undone: it was answered `ok`. */
  readonly succeeded?: true | undefined
  /** For a step that is confirmed later: its reservation certainly stands. */
  readonly reserved?: true | undefined
  readonly result?: unknown
  readonly error?: StepFailure | undefined
  /** A signal that came before its step began. */
  readonly signal?: { readonly payload?: unknown } | undefined
  /** For steps added while the saga ran: their branch, or the step whose item they are, and their payload. */
  readonly branch?: string | undefined
  readonly payload?: unknown
  /** For a branch that code added: the channel of its commands. A release that sends them elsewhere cannot settle it. */
  readonly to?: string | undefined
}

/** Why a saga turned back (or is stuck): the first step that said no, and with which words. */
export interface SagaFailure extends StepFailure {
  readonly step: string
}

/** The step of another saga that this one is. */
export interface SagaParent {
  readonly name: string
  readonly id: string
  readonly step: string
  /** Operation that the parent waits for: the end, or the undoing. */
  readonly operation: Exclude<Operation, 'confirm'>
  /** Tells the parent from an earlier saga with its id. */
  readonly birth: string
}

/** `stuck` is not an end: an operator has to look at it. Steps that only wait may still be open beside the one that failed. */
export type SagaStatus = 'running' | 'compensating' | 'completed' | 'compensated' | 'stuck'

/** All that the machine remembers of a saga. */
export interface SagaState {
  readonly status: SagaStatus
  readonly steps: readonly StepState[]
  readonly failure?: SagaFailure | undefined
  /** Reason to turn back as soon as the running local call has returned, or an operator has seen to the stuck saga. */
  readonly cancel?: StepFailure | undefined
  readonly parent?: SagaParent | undefined
  /** How often it has become stuck: an operator decides on one of these times, and not on a later one. */
  readonly timesStuck?: number | undefined
}

/**
 * Why a saga turned back; of one that is stuck, the step that an operator has to see to and its error. The store's lists say the
 * same (`FAILURE`).
 */
export function failureOf({ status, steps, failure }: SagaState): SagaFailure | undefined {
  const parked =
    status === 'stuck' ? steps.find(({ wait, error }) => wait === 'operator' && error !== undefined) : undefined
  return parked?.error === undefined ? failure : { step: parked.step, ...parked.error }
}

/** The state before anything happened. */
export function initialState(shape: SagaShape): SagaState {
  return {
    status: 'running',
    steps: shape.steps.map(({ name }) => ({ step: name, status: 'pending', attempts: 0 })),
  }
}

export function isEnded(status: SagaStatus): boolean {
  return status === 'completed' || status === 'compensated'
}

/** The indexes of steps with an open operation: several within a group; none before the start, and at the end. */
export function openSteps(steps: readonly StepState[]): readonly number[] {
  return steps.flatMap(({ status }, index) => (operationIn(status) === undefined ? [] : [index]))
}

/** The open step that an operator acts on: the first one that is parked, else the first. -1: none is open. */
export function actedOn(steps: readonly StepState[]): number {
  const open = openSteps(steps)
  return open.find((index) => steps[index]?.wait === 'operator') ?? open[0] ?? -1
}

/** Local calls that must be running in this state. */
export function localCalls(state: SagaState): readonly Call[] {
  return state.steps.flatMap((step, index) => {
    const operation = operationIn(step.status)
    if (operation === undefined || step.wait !== 'call') return []
    return [{ index, step: step.step, operation, attempt: step.attempts }]
  })
}

/** Something to be done: run the function, or send the command. */
export interface Call {
  readonly index: number
  readonly step: string
  readonly operation: Operation
  readonly attempt: number
}
