/** Entries of the barrier. */
import type { Operation } from '../machine/operation.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'

/** `failed` may be tried again; `final` may not. `begun`: there is no reply yet, and the handler may have been called. */
export type BarrierStatus = 'begun' | 'ok' | 'refused' | 'failed' | 'final' | 'cancelled'

/**
 * Reason why an `invoke` is not called: the effect of an earlier saga with this id exists, or the records of that time were
 * purged.
 */
export interface Barred {
  readonly by: 'standing' | 'purged'
  /** ISO 8601: time of the effect, or up to which records were purged. */
  readonly at: string
}

/** A step of one saga. */
export type StepOwner = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth'>

/** Record of an operation. */
export interface BarrierEntry extends StepOwner {
  readonly operation: Operation
  /** False: the record existed, and is now locked. */
  readonly isNew: boolean
  /** `none`: nothing was recorded, because the command is barred. */
  readonly status: BarrierStatus | 'none'
  /** Reason why the handler of an `invoke` must not be called. */
  readonly barred?: Barred | undefined
  /** An attempt that was not refused may have had effects outside of the row's transaction. */
  readonly isOutside: boolean
  readonly reply: SagaReply | null
  /** Round of an operator's retries in which it was decided. */
  readonly round: number
  /** For an XA participant: the prepared transaction with the effect of `invoke`. */
  readonly gid: string | null
}

/** Fields of an operation's command that the barrier needs. */
export type BarrierCommand = Pick<CommandHeaders, 'key' | 'replyTo' | 'birth' | 'round' | 'sentAt'>
/** A row of the barrier, as read with `COLUMNS`. */
export type BarrierRow = Omit<BarrierEntry, 'operation' | 'isNew' | 'replyTo' | 'barred'> & {
  readonly standingSince: string | null
}

/** Reply to a command, with its record. */
export interface BarrierAnswer {
  readonly operation: Operation
  readonly status: BarrierStatus
  readonly command: BarrierCommand
  readonly reply: SagaReply | null
}

/** Returns the entry for a row. */
export function entryOf(
  { standingSince, ...row }: BarrierRow,
  { replyTo }: BarrierCommand,
  operation: Operation,
): BarrierEntry {
  const entry = { ...row, replyTo, operation, isNew: false }
  return standingSince === null ? entry : { ...entry, barred: { by: 'standing', at: standingSince } }
}

/** Returns the entry for a barred operation, which is not recorded. */
export function barredEntry(
  { key, replyTo, birth, round }: BarrierCommand,
  operation: Operation,
  barred: Barred,
): BarrierEntry {
  const nothing = { isNew: false, status: 'none', isOutside: false, reply: null, gid: null } as const
  return { key, replyTo, birth, round, operation, ...nothing, barred }
}
