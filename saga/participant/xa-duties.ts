/**
 * The duties of an XA participant: `invoke` calls the handler and prepares, `confirm` commits what is prepared, `compensate`
 * rolls it back. Of the last two only one can succeed: the server has the prepared transaction once.
 */
import type { Clock } from '../../core/clock.ts'
import { SqlCannotPrepare, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import { describeError, isRefusal } from '../coordinator/outcome.ts'
import { stored } from '../json.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import type { Barrier, BarrierEntry } from './barrier.ts'
import { type Asked, answered, type Decision, Doing, type Duties, type DutyAhead, type GivenUp } from './duties.ts'
import { done, isConfirmed, notReserved } from './tcc-duties.ts'
import { endPrepared, NotYet, Patience } from './xa-ending.ts'
import { gidBase, nextGid } from './xa-gid.ts'
import type { XaRows } from './xa-rows.ts'

type Handler<Request, Context> = (request: Request, context: Context) => unknown

export interface XaParts {
  readonly sql: SqlClient
  readonly barrier: Barrier
  readonly rows: XaRows
  readonly clock: Clock
  readonly lockTimeoutMs: number
}

export function xaDuties<Request, Context>(
  parts: XaParts,
  handler: Handler<Request, Context>,
): Duties<Request, Context> {
  return {
    invoke: new Preparing(parts, handler),
    confirm: new Committing(parts),
    compensate: new RollingBack(parts),
  }
}

/** A call of the handler that is about to be made. */
interface Attempt {
  readonly key: string
  readonly gid: string
  readonly base: string
  /** Prepared by earlier calls, whose answer was never sent. */
  readonly stale: readonly string[]
}

/**
 * Calls the handler in a transaction that it leaves prepared. That it begins is a commit of its own, with the name of the
 * transaction: it is found by that. A prepared one that was not answered yet is rolled back and made again: nobody was told
 * of it, and its result is in no row that can be read.
 */
class Preparing<Request, Context> implements DutyAhead<Request, Context> {
  readonly mayRefuse = true
  readonly needsRequest = true
  readonly #parts: XaParts
  readonly #handler: Handler<Request, Context>
  /** Says the same no as any other participant. */
  readonly #otherwise: Doing<Request, Context>

  constructor(parts: XaParts, handler: Handler<Request, Context>) {
    this.#parts = parts
    this.#handler = handler
    this.#otherwise = new Doing(parts.barrier, handler)
  }

  async ahead(asked: Asked<Request, Context>): Promise<Decision> {
    const { sql, clock } = this.#parts
    const { command, message } = asked
    const patience = new Patience(clock, message.signal)
    const base = gidBase(await this.#parts.rows.place(sql), command)
    for (;;) {
      const begun = await this.#begin(command, base)
      if (begun === 'busy') {
        await patience.wait(`${command.key} is being done elsewhere`)
        continue
      }
      if ('status' in begun) return () => Promise.resolve(begun)
      for (const gid of begun.stale) await endPrepared(sql, 'ROLLBACK', gid, patience)
      const reply = await this.#prepare(asked, begun)
      if (reply !== undefined) return (tx) => this.#keep(tx, command, begun, reply)
      await patience.wait(`${command.key} was taken over`)
    }
  }

  uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    return this.#otherwise.uncalled(tx, command, no)
  }

  givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return this.#otherwise.givenUp(tx, command, status, reply)
  }

  /** @returns what was answered before, if it was; `busy` while another call is open */
  async #begin(command: CommandHeaders, base: string): Promise<Attempt | SagaReply | 'busy'> {
    const { sql, barrier, rows } = this.#parts
    return sql.transaction(async (tx) => {
      const entry = await barrier.enter(tx, command, 'invoke', 'begun')
      const known = answered(command, entry)
      if (known !== undefined) return known
      const { isFree, prepared } = entry.isNew ? FREE : await rows.look(tx, entry.key, base)
      if (!isFree && prepared.length === 0) return 'busy'
      const gid = nextGid(base, entry.gid, command.key)
      await rows.begin(tx, entry, gid, command)
      return { key: entry.key, gid, base, stale: prepared }
    })
  }

  /** @returns what is to be answered; `undefined`: somebody else is at it */
  async #prepare(
    { request, command, message, contextIn }: Asked<Request, Context>,
    attempt: Attempt,
  ): Promise<SagaReply | undefined> {
    const { sql, rows, lockTimeoutMs } = this.#parts
    try {
      requirePrepare(sql)
      return await sql.prepare(attempt.gid, async (tx): Promise<SagaReply> => {
        const entered = await rows.enter(tx, attempt.key, attempt.gid, attempt.base)
        if (entered === 'busy') throw new GivenOver()
        if (entered === 'committed') throw new CommittedByHand(command.key)
        await tx.query(`SELECT set_config('lock_timeout', $1, true)`, [`${lockTimeoutMs}ms`])
        const returned = await this.#handler(request, contextIn(tx))
        const result = stored(`result of ${command.key}`, returned, Number.POSITIVE_INFINITY)
        return { ...answerTo(command), status: 'ok', ...(result !== undefined && { result }) }
      })
    } catch (error) {
      if (error instanceof GivenOver) return undefined
      if (!isRefusal(error)) throw error
      // It is rolled back, and so is whatever an earlier call did: a definite no.
      const { operation, key, attempt: nth } = command
      const { code, message: text } = describeError(error)
      message.log.warn({ sagaKey: key, operation, code, status: 'refused' }, 'saga command not done')
      const no: SagaReply = { ...answerTo(command), status: 'refused', code, message: text }
      return nth === undefined ? no : { ...no, attempt: nth }
    }
  }

  async #keep(tx: SqlTransaction, command: CommandHeaders, attempt: Attempt, reply: SagaReply): Promise<SagaReply> {
    const status = reply.status === 'ok' ? 'ok' : 'refused'
    const { key, gid } = attempt
    if (await this.#parts.rows.keep(tx, { key, gid, round: command.round }, status, reply)) return reply
    throw new NotYet(`${command.key} was taken over, or cancelled, before it was answered`)
  }
}

/** Commits what is prepared, once; what is not can only be seen to by a person. */
class Committing<Request, Context> implements DutyAhead<Request, Context> {
  readonly mayRefuse = false
  readonly needsRequest = false
  readonly #parts: XaParts

  constructor(parts: XaParts) {
    this.#parts = parts
  }

  async ahead({ command, message }: Asked<Request, Context>): Promise<Decision> {
    const { sql, barrier, clock } = this.#parts
    const entry = await barrier.peek(sql, command, 'invoke')
    if (entry?.status === 'ok' && entry.gid !== null) {
      await endPrepared(sql, 'COMMIT', entry.gid, new Patience(clock, message.signal))
    }
    return (tx) => this.#decide(tx, command)
  }

  async #decide(tx: SqlTransaction, command: CommandHeaders): Promise<SagaReply> {
    const { barrier, rows } = this.#parts
    const invoked = await barrier.enter(tx, command, 'invoke', 'cancelled')
    if (invoked.gid === null || (await rows.committed(tx, invoked.key)) !== invoked.gid)
      return this.#uncommitted(tx, command, invoked)
    const entry = await barrier.enter(tx, command, 'confirm', 'ok')
    if (entry.isNew) await barrier.keep(tx, entry, 'ok', done(command), command.round)
    return done(command)
  }

  async #uncommitted(
    tx: SqlTransaction,
    command: CommandHeaders,
    { status, key, gid }: BarrierEntry,
  ): Promise<SagaReply> {
    if (status !== 'ok' || gid === null) return notReserved(command)
    const { prepared } = await this.#parts.rows.look(tx, key, gid)
    if (prepared.length > 0) throw new NotYet(`${command.key} was prepared in this moment`)
    return notPrepared(command, gid)
  }

  /** The payload is not needed. */
  async uncalled(_: SqlTransaction, __: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    return no
  }

  /** Nothing is kept: asked again, it is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }
}

/** Rolls back what is prepared, and refuses a call of the handler that comes later; what never began is given up as it is. */
class RollingBack<Request, Context> implements DutyAhead<Request, Context> {
  readonly mayRefuse = false
  readonly needsRequest = false
  readonly #parts: XaParts

  constructor(parts: XaParts) {
    this.#parts = parts
  }

  async ahead({ command, message }: Asked<Request, Context>): Promise<Decision> {
    const { sql, barrier, clock } = this.#parts
    const entry = await barrier.peek(sql, command, 'invoke')
    const base = gidBase(await this.#parts.rows.place(sql), command)
    if (entry !== undefined) {
      await this.#refuseLate(command)
      await this.#rollBack(command, { ...entry, base }, new Patience(clock, message.signal))
    }
    return (tx) => this.#decide(tx, command, { base, isRolledBack: entry !== undefined })
  }

  /** From here on no call of the handler can begin, or be answered. */
  async #refuseLate(command: CommandHeaders): Promise<void> {
    const { sql, barrier } = this.#parts
    await sql.transaction(async (tx) => {
      const entry = await barrier.enter(tx, command, 'invoke', 'cancelled')
      const isOver = (await barrier.find(tx, command, 'confirm')) !== undefined
      const isOpen = !entry.isNew && !isOver && entry.status !== 'cancelled'
      if (isOpen && !isForeign(entry)) await barrier.mark(tx, entry, 'cancelled')
    })
  }

  /** A call that is still open is waited for: it may be prepared in a moment. */
  async #rollBack(
    command: CommandHeaders,
    { key, base }: Pick<Attempt, 'key' | 'base'>,
    patience: Patience,
  ): Promise<void> {
    const { sql, rows } = this.#parts
    for (;;) {
      const { isFree, prepared } = await rows.look(sql, key, base)
      for (const gid of prepared) await endPrepared(sql, 'ROLLBACK', gid, patience)
      if (isFree && prepared.length === 0) return
      if (prepared.length === 0) await patience.wait(`${command.key} is still being done`)
    }
  }

  /** @param known `isRolledBack`: what had begun is; what begins while nobody looked is for the next time */
  async #decide(
    tx: SqlTransaction,
    command: CommandHeaders,
    { base, isRolledBack }: { readonly base: string; readonly isRolledBack: boolean },
  ): Promise<SagaReply> {
    const { barrier, rows } = this.#parts
    const invoked = await barrier.enter(tx, command, 'invoke', 'cancelled')
    if ((await barrier.find(tx, command, 'confirm')) !== undefined) return isConfirmed(command)
    if (isForeign(invoked)) return notOurs(command)
    const isSettled = isRolledBack && invoked.status === 'cancelled'
    if (!invoked.isNew && !isSettled) throw new NotYet(`${command.key} has begun in this moment`)
    if ((await rows.committed(tx, invoked.key))?.startsWith(base) === true) return isConfirmed(command)
    const entry = await barrier.enter(tx, command, 'compensate', 'ok')
    if (entry.isNew) await barrier.keep(tx, entry, 'ok', done(command), command.round)
    return done(command)
  }

  /** The payload is not needed. */
  async uncalled(_: SqlTransaction, __: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    return no
  }

  /** Nothing is kept: asked again, it is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }
}

/** Another kind of participant did it, or began to. */
function isForeign({ isNew, gid, status }: BarrierEntry): boolean {
  return !isNew && gid === null && (status === 'ok' || status === 'begun')
}

const FREE = { isFree: true, prepared: [] } as const

/** Ends a transaction that must not be prepared. */
class GivenOver extends Error {}

/** Somebody committed it who was not asked to: done again it would be done twice. */
class CommittedByHand extends Error {
  readonly code = 'saga.committed_by_hand' as const
  readonly retryable = false as const

  constructor(key: string) {
    super(
      `${key} was prepared, and committed by hand before it was answered: look at what it did, then skip or resolve`,
    )
  }
}

type PreparingClient = SqlClient & { readonly prepare: NonNullable<SqlClient['prepare']> }

/** @throws SqlCannotPrepare when the client cannot */
export function requirePrepare(sql: SqlClient): asserts sql is PreparingClient {
  if (sql.prepare !== undefined) return
  throw new SqlCannotPrepare(
    'this SqlClient cannot prepare transactions: give pgClient(pool) with a PostgreSQL server, or use tccParticipant (PGlite and Kysely cannot)',
  )
}

function notOurs(command: CommandHeaders): SagaReply {
  const message = 'it was tried by a participant that does not prepare, so it must be cancelled by one: bring that back'
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.wrong_participant', message }
}

function notPrepared(command: CommandHeaders, gid: string): SagaReply {
  const message = `transaction ${gid} was prepared, and is neither prepared nor committed any more: somebody rolled it back, or the database is an old copy`
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.not_prepared', message }
}
