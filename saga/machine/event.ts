/** Events of a saga (the machine's input) and its record (the timeline). */
import type { Operation } from './operation.ts'
import type { GrownStep, StepFailure } from './state.ts'

/** Input of the machine. */
export type SagaEvent =
  | { readonly type: 'started' }
  /** The saga is due: a reply is late, a pause is over, or the process that ran the step is gone. */
  | { readonly type: 'due' }
  /** Messages in flight may be lost: send the unanswered command again. No attempt is used up. */
  | { readonly type: 'resumed' }
  /** A planned call will not be made by this process; another one shall. `sent`: it may have been made, and its answer is lost. */
  | { readonly type: 'yielded'; readonly step: string; readonly sent?: true }
  | {
      readonly type: 'succeeded'
      readonly step: string
      readonly operation: Operation
      readonly result?: unknown
      /**
       * For the code of a global transaction: the branches that its process knows, except refused ones. A database that fails over to a
       * copy without the last commits may have lost some: they are added again.
       */
      readonly branches?: readonly GrownStep[] | undefined
    }
  /** A definite no: nothing was done and asking again is pointless. */
  | {
      readonly type: 'refused'
      readonly step: string
      readonly operation: Operation
      readonly error: StepFailure
      /** Round of an operator's retry; an earlier one is ignored. `unknown`: its sender did not say. @default the present one */
      readonly round?: number | 'unknown' | undefined
      /** Same as for a success. */
      readonly branches?: readonly GrownStep[] | undefined
    }
  | {
      readonly type: 'failed'
      readonly step: string
      readonly operation: Operation
      readonly error: StepFailure
      /** True: trying again is pointless. */
      readonly terminal: boolean
      /** True: the participant waits for another process that works on the step. Counts as no answer. */
      readonly waiting?: boolean | undefined
      /** Which attempt failed; a report of an earlier one is ignored. */
      readonly attempt?: number | undefined
      /** Same as for a refusal. */
      readonly round?: number | 'unknown' | undefined
      /** Same as for a success. */
      readonly branches?: readonly GrownStep[] | undefined
    }
  /** The condition of a step said, before its first call, that it is not needed. */
  | { readonly type: 'omitted'; readonly step: string }
  /** How long a timer takes, as the definition computed it when the step began. */
  | { readonly type: 'armed'; readonly step: string; readonly ms: number }
  /** A signal for a step, possibly before it waits. */
  | { readonly type: 'signalled'; readonly step: string; readonly payload?: unknown }
  /** For which items the step is made, as the definition computed them when it began. */
  | { readonly type: 'planned'; readonly step: string; readonly items: readonly unknown[] }
  /** Which of the branches after it the step has chosen, as the definition decided when it began. */
  | { readonly type: 'chosen'; readonly step: string; readonly branch: string }
  /**
   * The code of a transaction asks for something: a step is added, under a name that the code gives once. `to`: the channel
   * that the branch's commands go to.
   */
  | {
      readonly type: 'branched'
      readonly step: string
      readonly branch: string
      readonly to?: string | undefined
      readonly payload?: unknown
    }
  /** A step's time may be up while a local call runs, during which no sweep covers the saga. */
  | { readonly type: 'late'; readonly step: string }
  /** The event can never be written: open steps wait for an operator. `step`: its step. */
  | { readonly type: 'unwritable'; readonly error: StepFailure; readonly step?: string | undefined }
  /** The saga that this one is a step of turns back: undo what was done, also if it has completed. */
  | { readonly type: 'undo' }
  /** The saga's deadline has passed. */
  | { readonly type: 'expired' }
  | {
      readonly type: 'operator'
      readonly action: OperatorAction
      readonly by: string
      readonly reason: string
      /** Tells an action that was left in the saga's row from an equal one. */
      readonly request?: string | undefined
    }

/** Actions of a person: cancel a running saga; all others are for a stuck one. */
export type OperatorAction = CancelAction | StuckAction

/** Turns the saga back; not once the pivot has begun. */
export interface CancelAction {
  readonly do: 'cancel'
}

/** Where the saga was seen when the action was decided; refused when it is stuck elsewhere, or once more, by then. */
export interface SeenStuck {
  /** `timesStuck` of its state. Absent: not checked. */
  readonly timesStuck?: number | undefined
  /** The step on which it was stuck. Absent: not checked. */
  readonly step?: string | undefined
  /** The same of what is done with the step. */
  readonly operation?: Operation | undefined
}

/** Actions for a stuck saga. */
export type StuckAction = SeenStuck &
  (
    | /** Calls the step again, with all its attempts. */ { readonly do: 'retry' }
    /** Takes the step as done (forward: with this result) or as undone (backward), without a call, and goes on. */
    | { readonly do: 'skip'; readonly result?: unknown }
    /** Stuck on the pivot only: it certainly did not happen, undo what came before it. */
    | { readonly do: 'compensate' }
    /** Ends the saga: the rest was settled by hand. */
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
  /** An action left for an instance with the saga's version that no longer fitted. */
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
