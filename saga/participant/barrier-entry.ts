/** Entries of the barrier. */
import type { Operation } from '../machine/operation.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'

/** `failed` may be tried again; `final` may not. `begun`: nothing was answered yet, the handler may have been called. */
export type BarrierStatus = 'begun' | 'ok' | 'refused' | 'failed' | 'final' | 'cancelled'

/** Why an `invoke` is not called: what an earlier saga of this id did stands, or the records of that time were purged. */
export interface Barred {
  readonly by: 'standing' | 'purged'
  /** ISO 8601: when it was done, or up to when records were purged. */
  readonly at: string
}

/** A step of one saga. */
export type StepOwner = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth'>

/** Record of an operation. */
export interface BarrierEntry extends StepOwner {
  readonly operation: Operation
  /** False: this is what was found, locked. */
  readonly isNew: boolean
  /** `none`: nothing is entered, since it is barred. */
  readonly status: BarrierStatus | 'none'
  /** Reason for which the handler of an `invoke` must not be called. */
  readonly barred?: Barred | undefined
  /** An attempt that was not refused may have had effects outside of the row's transaction. */
  readonly isOutside: boolean
  readonly reply: SagaReply | null
  /** In which of an operator's rounds it was decided. */
  readonly round: number
  /** For an XA participant: the prepared transaction with the effect of `invoke`. */
  readonly gid: string | null
}

/** The command of an operation, as far as the barrier needs it. */
export type BarrierCommand = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth' | 'round' | 'sentAt'>
/** A row of the barrier, as `COLUMNS` reads it. */
export type BarrierRow = Omit<BarrierEntry, 'operation' | 'isNew' | 'replyTo' | 'barred'> & {
  readonly standingSince: string | null
}

/** Answer to a command. */
export interface BarrierAnswer {
  readonly operation: Operation
  readonly status: BarrierStatus
  readonly command: BarrierCommand
  readonly reply: SagaReply | null
}

/** Entry of a row that was found. */
export function entryOf(
  { standingSince, ...row }: BarrierRow,
  { replyTo }: BarrierCommand,
  operation: Operation,
): BarrierEntry {
  const entry = { ...row, replyTo, operation, isNew: false }
  return standingSince === null ? entry : { ...entry, barred: { by: 'standing', at: standingSince } }
}

/** Entry of an operation that is barred, and so is not entered. */
export function barredEntry(
  { key, replyTo, birth, round }: BarrierCommand,
  operation: Operation,
  barred: Barred,
): BarrierEntry {
  const nothing = { isNew: false, status: 'none', isOutside: false, reply: null, gid: null } as const
  return { key, replyTo, birth, round, operation, ...nothing, barred }
}
