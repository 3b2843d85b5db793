/**
 * The duties of an XA participant: `invoke` calls the handler and prepares, `confirm` commits what is prepared, `compensate`
 * rolls it back. Of the last two only one can succeed: the server has the prepared transaction once.
 */
import type { Clock } from '../../core/clock.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import { describeError, isRefusal } from '../coordinator/outcome.ts'
import { stored } from '../json.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import type { Barrier, BarrierEntry } from './barrier.ts'
import { type Asked, answered, type Decision, Doing, type Duties, type DutyAhead, type GivenUp } from './duties.ts'
import { done, isConfirmed, notReserved } from './tcc-duties.ts'
import type { WaitingRoom } from './waiting-room.ts'
import { NotYet, Patience } from './xa-ending.ts'
import type { Gate } from './xa-gate.ts'
import { baseOf, nextGid } from './xa-gid.ts'
import type { XaRows } from './xa-rows.ts'

type Handler<Request, Context> = (request: Request, context: Context) => unknown

export interface XaParts {
  readonly sql: SqlClient
  readonly barrier: Barrier
  readonly rows: XaRows
  /** Where it is prepared. The handler gets its transaction. */
  readonly gate: Gate<SqlTransaction>
  /** For calls that wait for a row. */
  readonly room: WaitingRoom
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

/** What is known of a gate that a call before this one may be in. */
interface Seen {
  /** The call that was the last one when it was looked at. */
  readonly gid: string | null
  readonly stale: readonly string[]
}

/** A call that has prepared and may be about to answer, and when that was first seen. */
interface Spared {
  readonly gid: string | null
  readonly since: number
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

  /** The row that it wants stays as it is until another saga is decided. */
  isHeld(error: unknown): boolean {
    return this.#parts.gate.isHeld(error)
  }

  async ahead(asked: Asked<Request, Context>): Promise<Decision> {
    const { gate, clock, lockTimeoutMs, room } = this.#parts
    const { command, message } = asked
    using seat = room.enter()
    const waitMs = seat === undefined ? Math.min(lockTimeoutMs, BRIEFLY_MS) : lockTimeoutMs
    const patience = new Patience(clock, message.signal)
    let seen: Seen | undefined
    let spared: Spared | undefined
    for (;;) {
      const begun = await this.#begin(command, seen)
      seen = undefined
      if ('operation' in begun && 'isNew' in begun) {
        const found = await this.#look(command, begun)
        const isPrepared = found !== undefined && found.stale.length > 0
        if (isPrepared && spared?.gid !== begun.gid) spared = { gid: begun.gid, since: clock.monotonic() }
        // Who has prepared answers in a moment, unless it died: it gets that moment.
        const isSpared = isPrepared && clock.monotonic() - (spared?.since ?? 0) < SPARED_MS
        if (found === undefined || isSpared) {
          await patience.wait(`${command.key} is being done elsewhere`)
        } else {
          seen = found
        }
        continue
      }
      if ('status' in begun) return () => Promise.resolve(begun)
      for (const gid of begun.stale) await gate.end('ROLLBACK', gid, patience)
      const reply = await this.#prepare(asked, begun, waitMs)
      if (reply !== undefined) return (tx) => this.#keep(tx, command, begun, reply)
      await patience.wait(`${command.key} was taken over`)
    }
  }

  uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    return this.#otherwise.uncalled(tx, command, no)
  }

  /** While another call is at it, or has prepared and not answered, its work is left to it: nothing is kept. */
  async givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply> {
    if (status === 'failed' && (await this.#isAtWork(tx, command))) return reply
    return this.#otherwise.givenUp(tx, command, status, reply)
  }

  async #isAtWork(tx: SqlTransaction, command: CommandHeaders): Promise<boolean> {
    const entry = await this.#parts.barrier.peek(tx, command, 'invoke')
    return entry !== undefined && (await this.#parts.gate.isAtWork(tx, entry))
  }

  /** @returns `undefined` while another call is open */
  async #look(command: CommandHeaders, entry: BarrierEntry): Promise<Seen | undefined> {
    const { gate } = this.#parts
    const { isFree, prepared } = await gate.look(entry.key, await gate.base(command, entry))
    return !isFree && prepared.length === 0 ? undefined : { gid: entry.gid, stale: prepared }
  }

  /** @returns what was answered before, if it was; the call before, when it is to be looked for first */
  async #begin(command: CommandHeaders, seen: Seen | undefined): Promise<Attempt | SagaReply | BarrierEntry> {
    const { sql, barrier, gate } = this.#parts
    const fresh = await gate.base(command, undefined)
    return sql.transaction(async (tx) => {
      const entry = await barrier.enter(tx, command, 'invoke', 'begun')
      const known = answered(command, entry)
      if (known !== undefined) return known
      if (!entry.isNew && seen?.gid !== entry.gid) return entry
      const base = entry.gid === null ? fresh : await gate.base(command, entry)
      const gid = nextGid(base, entry.gid, command.key, gate.mostBytes)
      await gate.begin(tx, entry, gid, command)
      return { key: entry.key, gid, base, stale: seen?.stale ?? [] }
    })
  }

  /** @returns what is to be answered; `undefined`: somebody else is at it */
  async #prepare(
    { request, command, message, contextIn }: Asked<Request, Context>,
    attempt: Attempt,
    waitMs: number,
  ): Promise<SagaReply | undefined> {
    try {
      const passage = await this.#parts.gate.prepare({ ...attempt, waitMs }, async (tx): Promise<SagaReply> => {
        const returned = await this.#handler(request, contextIn(tx))
        const result = stored(`result of ${command.key}`, returned, Number.POSITIVE_INFINITY)
        return { ...answerTo(command), status: 'ok', ...(result !== undefined && { result }) }
      })
      if (passage.entered === 'in') return passage.result
      if (passage.entered === 'busy') return undefined
    } catch (error) {
      if (!isRefusal(error)) throw error
      // It is rolled back, and so is whatever an earlier call did: a definite no.
      const { operation, key, attempt: nth } = command
      const { code, message: text } = describeError(error)
      message.log.warn({ sagaKey: key, operation, code, status: 'refused' }, 'saga command not done')
      const no: SagaReply = { ...answerTo(command), status: 'refused', code, message: text }
      return nth === undefined ? no : { ...no, attempt: nth }
    }
    throw new CommittedByHand(command.key)
  }

  async #keep(tx: SqlTransaction, command: CommandHeaders, attempt: Attempt, reply: SagaReply): Promise<SagaReply> {
    const status = reply.status === 'ok' ? 'ok' : 'refused'
    const { key, gid } = attempt
    if (await this.#parts.rows.keep(tx, { key, gid, round: command.round }, status, reply)) return reply
    throw new NotYet(`${command.key} was taken over, or cancelled, before it was answered`)
  }
}

/** What became of the last call of the handler. */
interface Known {
  readonly gid: string
  readonly status: BarrierEntry['status']
  readonly isCommitted: boolean
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
    const { sql, barrier, gate, clock } = this.#parts
    const entry = await barrier.peek(sql, command, 'invoke')
    if (entry?.gid == null) return (tx) => this.#decide(tx, command, undefined)
    const { key, gid, status } = entry
    if (status === 'ok') await gate.end('COMMIT', gid, new Patience(clock, message.signal))
    const isCommitted = await this.#isCommitted(command, { key, gid })
    return (tx) => this.#decide(tx, command, { gid, status, isCommitted })
  }

  /** @throws NotYet while the transaction may still become so */
  async #isCommitted(
    command: CommandHeaders,
    { key, gid }: { readonly key: string; readonly gid: string },
  ): Promise<boolean> {
    const { gate } = this.#parts
    const base = baseOf(gid)
    if ((await gate.committed(key, base)) === gid) return true
    const { isFree, prepared } = await gate.look(key, base)
    if (prepared.length > 0) throw new NotYet(`${command.key} was prepared in this moment`)
    if (!isFree) throw new NotYet(`${command.key} is held by a transaction that is neither prepared nor ended: ${gid}`)
    // Nothing holds it any more, so what is read now is how it ended.
    return (await gate.committed(key, base)) === gid
  }

  async #decide(tx: SqlTransaction, command: CommandHeaders, known: Known | undefined): Promise<SagaReply> {
    const { barrier } = this.#parts
    const { gid, status } = await barrier.enter(tx, command, 'invoke', 'cancelled')
    if (gid === null) return notReserved(command)
    if (gid !== known?.gid || (status === 'ok' && known.status !== 'ok'))
      throw new NotYet(`${command.key} has begun in this moment`)
    if (!known.isCommitted) return status === 'ok' ? notPrepared(command, gid) : notReserved(command)
    const entry = await barrier.enter(tx, command, 'confirm', 'ok')
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

/** Rolls back what is prepared, and refuses a call of the handler that comes later; what never began is given up as it is. */
class RollingBack<Request, Context> implements DutyAhead<Request, Context> {
  readonly mayRefuse = false
  readonly needsRequest = false
  readonly #parts: XaParts

  constructor(parts: XaParts) {
    this.#parts = parts
  }

  async ahead({ command, message }: Asked<Request, Context>): Promise<Decision> {
    const { sql, barrier, gate, clock } = this.#parts
    const entry = await barrier.peek(sql, command, 'invoke')
    const base = await gate.base(command, entry)
    const key = entry?.key ?? command.key
    // A row that was purged too early leaves no trace here, and its transaction stays in a resource that has a gate of its own.
    const isOpen = entry !== undefined || (await this.#isHeldElsewhere(key, base))
    if (isOpen) {
      await this.#refuseLate(command)
      await this.#rollBack(command, { key, base }, new Patience(clock, message.signal))
    }
    const isCommitted = (await gate.committed(key, base))?.startsWith(base) === true
    return (tx) => this.#decide(tx, command, { isRolledBack: isOpen, isCommitted })
  }

  async #isHeldElsewhere(key: string, base: string): Promise<boolean> {
    const { gate } = this.#parts
    if (!gate.isApart) return false
    const { isFree, prepared } = await gate.look(key, base)
    return !isFree || prepared.length > 0
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
    const { gate } = this.#parts
    for (;;) {
      const { isFree, prepared } = await gate.look(key, base)
      for (const gid of prepared) await gate.end('ROLLBACK', gid, patience)
      if (isFree && prepared.length === 0) return
      if (prepared.length === 0) await patience.wait(`${command.key} is still being done`)
    }
  }

  /** @param known `isRolledBack`: what had begun is; what begins while nobody looked is for the next time */
  async #decide(
    tx: SqlTransaction,
    command: CommandHeaders,
    known: { readonly isRolledBack: boolean; readonly isCommitted: boolean },
  ): Promise<SagaReply> {
    const { barrier } = this.#parts
    const invoked = await barrier.enter(tx, command, 'invoke', 'cancelled')
    if ((await barrier.find(tx, command, 'confirm')) !== undefined) return isConfirmed(command)
    if (isForeign(invoked)) return notOurs(command)
    const isSettled = known.isRolledBack && invoked.status === 'cancelled'
    if (!invoked.isNew && !isSettled) throw new NotYet(`${command.key} has begun in this moment`)
    if (known.isCommitted) return isConfirmed(command)
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

/** From the preparation to the answer it takes a connection of the barrier and one commit. */
const SPARED_MS = 50

/** How long a call waits that finds no seat: as long as a writer may take that keeps nothing prepared. */
const BRIEFLY_MS = 50

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

function notOurs(command: CommandHeaders): SagaReply {
  const message = 'it was tried by a participant that does not prepare, so it must be cancelled by one: bring that back'
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.wrong_participant', message }
}

function notPrepared(command: CommandHeaders, gid: string): SagaReply {
  const message = `transaction ${gid} was prepared, and is neither prepared nor committed any more: somebody rolled it back, or the database is an old copy`
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.not_prepared', message }
}
