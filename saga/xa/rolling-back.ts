/** Cancellation of an XA participant. */

import type { SqlTransaction } from '../../core/sql.ts'
import type { BusyTries } from '../../core/transaction-retries.ts'
import { SagaError } from '../errors.ts'
import type { BarrierEntry, StepOwner } from '../participant/barrier-entry.ts'
import type { Asked, Decision, DutyAhead, GivenUp } from '../participant/operation-handlers.ts'
import { done, isConfirmed } from '../tcc/operation-handlers.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import type { XaParts } from './handler-dependencies.ts'
import { notYet } from './prepared-transaction-end.ts'

/**
 * Rolls back the prepared transaction, and refuses a later call of the handler. A call that never began is cancelled without
 * work.
 */
export class RollingBack<Request, Context> implements DutyAhead<Request, Context> {
  readonly mayRefuse = false
  readonly needsRequest = false
  readonly #parts: XaParts

  constructor(parts: XaParts) {
    this.#parts = parts
  }

  async ahead({ command, busy }: Asked<Request, Context>): Promise<Decision> {
    const { sql, barrier, gate } = this.#parts
    const entry = await barrier.peek(sql, command, 'invoke')
    const base = await gate.base(command, entry)
    // A row that was purged too early leaves no trace here, and its transaction stays in a resource with its own gate.
    const isOpen = entry !== undefined || (await this.#isHeldElsewhere(command, base))
    if (isOpen) {
      await this.#refuseLate(command)
      await this.#rollBack(command, base, busy)
    }
    const isCommitted = (await gate.committed(command, base))?.startsWith(base) === true
    return (tx) => this.#decide(tx, command, { isRolledBack: isOpen, isCommitted })
  }

  async #isHeldElsewhere(step: StepOwner, base: string): Promise<boolean> {
    const { gate } = this.#parts
    if (!gate.isApart) return false
    const { isFree, prepared } = await gate.look(step, base)
    return !isFree || prepared.length > 0
  }

  /** Prevents every later call of the handler, and its reply. */
  async #refuseLate(command: CommandHeaders): Promise<void> {
    const { sql, barrier } = this.#parts
    await sql.transaction(async (tx) => {
      const entry = await barrier.hold(tx, command, 'invoke', 'cancelled')
      const isOver = (await barrier.find(tx, command, 'confirm')) !== undefined
      const isOpen = !entry.isNew && !isOver && entry.status !== 'cancelled'
      if (isOpen && !isForeign(entry)) await barrier.mark(tx, entry, 'cancelled')
    })
  }

  /** Waits for a call that is still open, which may be prepared in a moment. */
  async #rollBack(command: CommandHeaders, base: string, busy: BusyTries): Promise<void> {
    const { gate } = this.#parts
    for (;;) {
      const { isFree, prepared } = await gate.look(command, base)
      for (const gid of prepared) await gate.end('ROLLBACK', gid, busy)
      if (isFree && prepared.length === 0) return
      if (prepared.length === 0) await notYet(busy, `${command.key} is still being done`)
    }
  }

  /** @param known `isRolledBack`: earlier calls are rolled back; a call that began unobserved is left to the next try */
  async #decide(
    tx: SqlTransaction,
    command: CommandHeaders,
    known: { readonly isRolledBack: boolean; readonly isCommitted: boolean },
  ): Promise<SagaReply> {
    const { barrier } = this.#parts
    const invoked = await barrier.hold(tx, command, 'invoke', 'cancelled')
    if ((await barrier.find(tx, command, 'confirm')) !== undefined) return isConfirmed(command)
    if (isForeign(invoked)) return notOurs(command)
    const isSettled = known.isRolledBack && invoked.status === 'cancelled'
    if (!invoked.isNew && !isSettled)
      throw new SagaError('saga.xa_not_yet', { message: `${command.key} has begun in this moment` })
    if (known.isCommitted) return isConfirmed(command)
    await barrier.enter(tx, command, 'compensate', 'ok', done(command))
    return done(command)
  }

  /** The payload is not needed. */
  async uncalled(_: SqlTransaction, __: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    return no
  }

  /** Records nothing, so a repeated command is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }
}

/** Tells whether another kind of participant made, or began, the call. */
function isForeign({ isNew, gid, status }: BarrierEntry): boolean {
  return !isNew && gid === null && (status === 'ok' || status === 'begun')
}

function notOurs(command: CommandHeaders): SagaReply {
  const message = 'it was tried by a participant that does not prepare, so it must be cancelled by one: bring that back'
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.wrong_participant', message }
}
