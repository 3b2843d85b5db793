/** Reply of a participant, or of a sub-saga. */
import type { Operation } from '../machine/operation.ts'

/** Reply of a participant. */
export interface SagaReply {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  readonly operation: Operation
  /**
   * `ok`: done. `refused`: definite, nothing was done. `failed`: it failed; with `final` repeating it is pointless, otherwise the
   * coordinator repeats the command.
   */
  readonly status: 'ok' | 'refused' | 'failed'
  readonly result?: unknown
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly final?: boolean | undefined
  readonly attempt?: number | undefined
  /** Repeats the header `saga-birth`: the reply belongs to that saga, and not to a later one with the same id. */
  readonly birth?: string | undefined
  /** For the reply to a `try`: `tcc`. Its row of the barrier is kept until it was confirmed or cancelled. */
  readonly kind?: string | undefined
  /** Repeats the header `saga-round`, 0 without it: a refusal of an earlier round does not apply to this one. Absent: unknown. */
  readonly round?: number | undefined
}
