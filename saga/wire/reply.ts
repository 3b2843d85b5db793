/** Answer of a participant, or of a sub-saga. */
import type { Operation } from '../machine/operation.ts'

/** Answer of a participant. */
export interface SagaReply {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  readonly operation: Operation
  /**
   * `ok`: done. `refused`: a definite no, nothing was done. `failed`: it did not work; with `final` asking again is
   * pointless, else the coordinator asks again.
   */
  readonly status: 'ok' | 'refused' | 'failed'
  readonly result?: unknown
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly final?: boolean | undefined
  readonly attempt?: number | undefined
  /** Repeats the header `saga-birth`: the answer is for that saga, and for no other that has its id later. */
  readonly birth?: string | undefined
  /** For the answer to a `try`: `tcc`. Its row of the barrier is kept until it was confirmed or cancelled. */
  readonly kind?: string | undefined
  /** Repeats the header `saga-round`, 0 without it: a refusal of an earlier round is none of this one. Absent: unknown. */
  readonly round?: number | undefined
}
