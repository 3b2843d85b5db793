/** Events of a saga (the machine's input) and its record (the timeline). */
import type { Operation } from './operation.ts'
import type { GrownStep, StepFailure } from './state.ts'

/** Input of the machine. */
export type SagaEvent =
  | { readonly type: 'started' }
  /** The saga is due: a reply is late, a pause has ended, or the process that ran the step has died. */
  | { readonly type: 'due' }
  /** Messages in flight may be lost: send the unanswered command again, without counting an attempt. */
  | { readonly type: 'resumed' }
  /** This process will not make a planned call; another one shall. `sent`: it may have been made, and its reply is lost. */
  | { readonly type: 'yielded'; readonly step: string; readonly sent?: true }
  | {
      readonly type: 'succeeded'
      readonly step: string
      readonly operation: Operation
      readonly result?: unknown
      /**
       * For the code of a global transaction: the branches that its process knows, except refused ones. A database that failed
       * over to a copy without the last commits may have lost some: they are added again.
       */
      readonly branches?: readonly GrownStep[] | undefined
    }
  /** Definite refusal: nothing was done, and repeating the call is pointless. */
  | {
      readonly type: 'refused'
      readonly step: string
      readonly operation: Operation
      readonly error: StepFailure
      /**
       * Round of an operator's retry; an earlier one is ignored. `unknown`: the sender did not name it. @default the present one
       */
      readonly round?: number | 'unknown' | undefined
      /** Same as for a success. */
      readonly branches?: readonly GrownStep[] | undefined
    }
  | {
      readonly type: 'failed'
      readonly step: string
      readonly operation: Operation
      readonly error: StepFailure
      /** True: repeating the call is pointless. */
      readonly terminal: boolean
      /** True: the participant waits for another process that works on the step. Counts as no reply. */
      readonly waiting?: boolean | undefined
      /** Number of the failed attempt; the report of an earlier one is ignored. */
      readonly attempt?: number | undefined
      /** Same as for a refusal. */
      readonly round?: number | 'unknown' | undefined
      /** Same as for a success. */
      readonly branches?: readonly GrownStep[] | undefined
    }
  /** The condition of a step decided, before its first call, that the step is not needed. */
  | { readonly type: 'omitted'; readonly step: string }
  /** Duration of a timer, as the definition computed it when the step began. */
  | { readonly type: 'armed'; readonly step: string; readonly ms: number }
  /** A signal for a step, possibly before it waits. */
  | { readonly type: 'signalled'; readonly step: string; readonly payload?: unknown }
  /** Items of a list, as the definition computed them when the step began. */
  | { readonly type: 'planned'; readonly step: string; readonly items: readonly unknown[] }
  /** Branch that the step has chosen, as the definition decided when the step began. */
  | { readonly type: 'chosen'; readonly step: string; readonly branch: string }
  /**
   * The code of a transaction calls a branch: a step is added, under a name that the code uses once. `to`: the branch's command
   * channel.
   */
  | {
      readonly type: 'branched'
      readonly step: string
      readonly branch: string
      readonly to?: string | undefined
      readonly payload?: unknown
    }
  /** A step's time limit may have passed while a local call runs, when the poller skips the saga. */
  | { readonly type: 'late'; readonly step: string }
  /** The event can never be written: open steps wait for an operator. `step`: its step. */
  | { readonly type: 'unwritable'; readonly error: StepFailure; readonly step?: string | undefined }
  /** The parent is being undone: undo this saga, even if it has completed. */
  | { readonly type: 'undo' }
  /** The saga's deadline has passed. */
  | { readonly type: 'expired' }
  | {
      readonly type: 'operator'
      readonly action: OperatorAction
      readonly by: string
      readonly reason: string
      /** Identifies an action stored in the saga's row among equal ones. */
      readonly request?: string | undefined
    }

/** Actions of operators: one cancels a running saga, all others apply to a stuck one. */
export type OperatorAction = CancelAction | StuckAction

/** Cancels the saga, unless its pivot has begun. */
export interface CancelAction {
  readonly do: 'cancel'
}

/** State that the operator saw when deciding; the action is refused if the saga is stuck elsewhere, or another time, by then. */
export interface SeenStuck {
  /** `timesStuck` of its state. Absent: not checked. */
  readonly timesStuck?: number | undefined
  /** The step on which it was stuck. Absent: not checked. */
  readonly step?: string | undefined
  /** Operation on which it was stuck. Absent: not checked. */
  readonly operation?: Operation | undefined
}

/** Actions for a stuck saga. */
export type StuckAction = SeenStuck &
  (
    | /** Calls the step again, with all its attempts. */ { readonly do: 'retry' }
    /** Marks the step as done (forward, with this result) or as undone (backward) without calling it, and continues. */
    | { readonly do: 'skip'; readonly result?: unknown }
    /** For a saga stuck on the pivot, which certainly did not happen: undoes the steps before it. */
    | { readonly do: 'compensate' }
    /** Ends the saga, after the rest was settled by hand. */
    | { readonly do: 'resolve'; readonly outcome: 'completed' | 'compensated' }
  )

/** Kinds of timeline entries. */
export type TimelineKind =
  | 'started'
  | 'invoking'
  | 'invoked'
  | 'confirming'
  | 'confirmed'
  | 'refused'
  | 'failed'
  | 'timed-out'
  | 'orphaned'
  | 'compensating'
  | 'compensated'
  | 'stuck'
  | 'waiting'
  | 'omitted'
  | 'planned'
  | 'chosen'
  | 'signalled'
  | 'expired'
  | 'undo'
  | 'operator-cancel'
  | 'operator-retry'
  | 'operator-skip'
  | 'operator-compensate'
  | 'operator-resolve'
  /** An action stored for an instance with the saga's version that no longer applied. */
  | 'operator-refused'
  | 'saga-completed'
  | 'saga-compensated'

/** An entry of a saga's history. Never contains a payload. */
export interface TimelineEntry {
  readonly kind: TimelineKind
  readonly step?: string | undefined
  /** `attempt`, `code` and `message` of an error, `by` and `reason` of an operator. */
  readonly detail?: Readonly<Record<string, string | number>> | undefined
}
