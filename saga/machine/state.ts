/**
 * Data of the machine: the shape of a saga (the definition without its functions) and the state of one instance. Plain JSON: the
 * state is stored unchanged.
 */
import type { Backoff } from '../../core/backoff.ts'
import { type Operation, operationIn } from './operation.ts'

/** Number of calls of an operation, and the pauses between them. */
export interface RetryPolicy {
  /** Maximum number of calls of one operation, including the first. */
  readonly maxAttempts: number
  /**
   * True: a call without a reply does not count. It is repeated without limit, after growing pauses, because an unavailable
   * participant is not a failure.
   */
  readonly patient?: true | undefined
  readonly backoff: Backoff
}

/** Facts of a step that the machine uses. A new kind of participant is a new set of these facts, not a new machine. */
export interface StepShape {
  readonly name: string
  /** True: the call is sent as a message, and the reply arrives as one. False: this process runs a function. */
  readonly remote: boolean
  /** True: the effect commits together with the saga's progress, so a failed attempt certainly had no effect. */
  readonly transactional: boolean
  /** Point of no return: it can still be refused; once it is done the saga only goes forward. */
  readonly pivot: boolean
  /** False: undoing it needs no call. */
  readonly compensates: boolean
  /** Steps of one group (identified by the index of the first one) are open together. Never the pivot. */
  readonly group?: number | undefined
  /** True: a condition decides, before the step begins, whether it is needed. */
  readonly conditional?: boolean | undefined
  /**
   * Set when nothing is called: the step is done when it is due, when it is signalled, or when the definition has computed its
   * plan (without `each` and `chooses`, the first item of its plan is its result). Such a step counts as transactional, because
   * it leaves nothing behind when it is abandoned.
   */
  readonly awaits?: 'time' | 'signal' | 'plan' | undefined
  /** For a step that awaits a plan: it is followed by one step for each item of a list. */
  readonly each?: EachShape | undefined
  /** For a step that awaits a plan: it chooses one of these branches of the following steps. */
  readonly chooses?: readonly string[] | undefined
  /** The step runs only if these steps, each of which awaits a plan, have chosen it. */
  readonly choices?: readonly Choice[] | undefined
  /** True: it is repeated until it succeeds, or parked, whereas another step before the pivot would undo the saga. */
  readonly forward?: true | undefined
  /** Time limit of one attempt: of a reply, a local call, or a signal (may be `Infinity`). */
  readonly timeoutMs: number
  /** Longest pause between two calls without a reply, unless `timeoutMs` is longer. @default 10 minutes */
  readonly maxPauseMs?: number | undefined
  readonly invoke: RetryPolicy
  readonly compensate: RetryPolicy
  /**
   * Set when `invoke` only reserves: the step is confirmed when the saga is decided, and compensated when it is undone. Such a
   * step compensates, and precedes the pivot.
   */
  readonly confirm?: RetryPolicy | undefined
  /**
   * True: code of a global transaction, which adds branches while it runs. It is called once, because only its process has it;
   * when that process dies the transaction is cancelled.
   */
  readonly code?: true | undefined
}

/** Items of a list: their shape and concurrency. */
export interface EachShape {
  /** Shape of each item. */
  readonly item: StepShape
  /** Maximum number of items that may be open together. */
  readonly atOnce: number
}

/** A step that chooses, and the branch it must choose. */
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
  /** These steps begin; none: the saga waits for the open ones. */
  | { readonly grow: readonly GrownStep[] }
  | {
      readonly end: 'completed' | 'compensated' | 'stuck'
      /** Result of the saga: that of the step `outcome`. */
      readonly result: unknown
      /** Reason why it did not complete. */
      readonly failure?: StepFailure | undefined
      /** The step that takes an operator's next order. */
      readonly recovery: string
    }

/** Decides the steps of a saga one by one, after its first. */
export interface Script {
  /** Decides by the results of the steps. Pure. */
  next(steps: readonly StepState[]): ScriptTurn
  /** Branches that can be added, including `outcome` and `recovery`. */
  readonly branches: Readonly<Record<string, StepShape>>
}

/** A saga as the machine sees it: its steps, in order. */
export interface SagaShape {
  readonly steps: readonly StepShape[]
  /** Branches that code may add while it runs, by name. The state then has more steps than listed above. */
  readonly branches?: Readonly<Record<string, StepShape>> | undefined
  /** Set when the steps after the first one are decided while the saga runs. The first one awaits its plan, and is the pivot. */
  readonly script?: Script | undefined
}

/**
 * Status of a step:
 * - `pending`: it has not begun.
 * - `invoking`: the intent is durable, the call may have happened.
 * - `invoked`: it happened, the result is known.
 * - `refused`: the participant refused and did nothing. Nothing to undo.
 * - `failed`: given up with certainly no effect (transactional). Nothing to undo.
 * - `unknown`: given up, it may have happened. Undone like a success.
 * - `compensating`, `compensated`: the compensation is open, or done.
 * - `confirming`, `confirmed`: for a reserving step: the saga is decided, and can no longer be undone.
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
 * Wait of an open step: for a running local `call`, a `reply` to a message, the time of a `retry`, an `operator` (the saga is
 * stuck on it), its own `time`, a `signal` from outside, or the `plan` of the definition.
 */
export type Wait = 'call' | 'reply' | 'retry' | 'operator' | 'time' | 'signal' | 'plan'

/** Reason why a step failed or was refused: the code and the message of its error. */
export interface StepFailure {
  readonly code: string
  readonly message: string
}

/** State of a step. */
export interface StepState {
  readonly step: string
  readonly status: StepStatus
  /** Attempts of the operation that is open or was the last. */
  readonly attempts: number
  readonly wait?: Wait | undefined
  /**
   * Time until it is due, in ms after this state was written: the end of a pause, of waiting for a reply or a signal, or of a
   * timer.
   */
  readonly leftMs?: number | undefined
  /** Number of attempts without a reply, for an operation that waits for its reply without limit. */
  readonly unanswered?: number | undefined
  /** Number of these that the participant answered with "not yet", because it waits for another process. */
  readonly notYet?: number | undefined
  /** The latest attempt to which a participant replied with a failure. Each attempt counts once, even if its reply is late. */
  readonly failedAttempt?: number | undefined
  /** An earlier attempt may have had an effect. */
  readonly doubt?: true | undefined
  /** How many times an operator retried it. */
  readonly round?: number | undefined
  /** For a step that is undone after an operator's retry: the round in which it was last invoked. */
  readonly invokedIn?: number | undefined
  /** Number of calls that the end of their process cut short. */
  readonly orphans?: number | undefined
  /** For a participant's step that is undone: its reply was `ok`. */
  readonly succeeded?: true | undefined
  /** For a step that is confirmed later: its reservation certainly exists. */
  readonly reserved?: true | undefined
  readonly result?: unknown
  readonly error?: StepFailure | undefined
  /** A signal that arrived before its step began. */
  readonly signal?: { readonly payload?: unknown } | undefined
  /** For steps added while the saga ran: their branch, or the step whose item they are, and their payload. */
  readonly branch?: string | undefined
  readonly payload?: unknown
  /** For a branch that code added: the channel of its commands. A release that sends them to another channel cannot settle it. */
  readonly to?: string | undefined
}

/** Reason why a saga is undone or stuck: the first step that refused or failed, with its error. */
export interface SagaFailure extends StepFailure {
  readonly step: string
}

/** The step of the parent saga that this saga is. */
export interface SagaParent {
  readonly name: string
  readonly id: string
  readonly step: string
  /** Operation that the parent waits for: completing or undoing this saga. */
  readonly operation: Exclude<Operation, 'confirm'>
  /** Distinguishes the parent from an earlier saga with the same id. */
  readonly birth: string
}

/** `stuck` is not an end: an operator has to act. Steps that only wait may still be open beside the failed one. */
export type SagaStatus = 'running' | 'compensating' | 'completed' | 'compensated' | 'stuck'

/** State of a saga. */
export interface SagaState {
  readonly status: SagaStatus
  readonly steps: readonly StepState[]
  readonly failure?: SagaFailure | undefined
  /** Reason to undo the saga once the running local call has returned, or an operator has settled the stuck step. */
  readonly cancel?: StepFailure | undefined
  readonly parent?: SagaParent | undefined
  /** How many times it has become stuck: an operator's decision applies to one of these times, not to a later one. */
  readonly timesStuck?: number | undefined
}

/**
 * Returns the reason why a saga is undone or, if it is stuck, the step that an operator has to settle, with its error. Lists of
 * the store return the same (`FAILURE`).
 */
export function failureOf({
  status,
  steps,
  failure,
}: Pick<SagaState, 'status' | 'steps' | 'failure'>): SagaFailure | undefined {
  const parked =
    status === 'stuck' ? steps.find(({ wait, error }) => wait === 'operator' && error !== undefined) : undefined
  return parked?.error === undefined ? failure : { step: parked.step, ...parked.error }
}

/** Returns the state of a new saga. */
export function initialState(shape: SagaShape): SagaState {
  return {
    status: 'running',
    steps: shape.steps.map(({ name }) => ({ step: name, status: 'pending', attempts: 0 })),
  }
}

export function isEnded(status: SagaStatus): boolean {
  return status === 'completed' || status === 'compensated'
}

/** Returns the indexes of steps with an open operation: several within a group; none before the start, and at the end. */
export function openSteps(steps: readonly StepState[]): readonly number[] {
  return steps.flatMap(({ status }, index) => (operationIn(status) === undefined ? [] : [index]))
}

/** Returns the open step that an operator acts on: the first parked one, else the first. -1: none is open. */
export function actedOn(steps: readonly StepState[]): number {
  const open = openSteps(steps)
  return open.find((index) => steps[index]?.wait === 'operator') ?? open[0] ?? -1
}

/** Returns the local calls that must be running in this state. */
export function localCalls(state: SagaState): readonly Call[] {
  return state.steps.flatMap((step, index) => {
    const operation = operationIn(step.status)
    if (operation === undefined || step.wait !== 'call') return []
    return [{ index, step: step.step, operation, attempt: step.attempts }]
  })
}

/** A call to make: run the function, or send the command. */
export interface Call {
  readonly index: number
  readonly step: string
  readonly operation: Operation
  readonly attempt: number
}
