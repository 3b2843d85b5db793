/** The call of an XA participant's handler, in a transaction that it leaves prepared. */

import type { SqlTransaction } from '../../core/sql.ts'
import { describeError, isRefusal } from '../coordinator/outcome-to-event.ts'
import { SagaError } from '../errors.ts'
import { stored } from '../json.ts'
import type { BarrierEntry, StepOwner } from '../participant/barrier-entry.ts'
import {
  type Asked,
  answered,
  type Decision,
  Doing,
  type DutyAhead,
  type GivenUp,
} from '../participant/operation-handlers.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import { nextGid } from './gid.ts'
import type { Handler, XaParts } from './handler-dependencies.ts'
import { notYet } from './prepared-transaction-end.ts'

/** State of a gate that an earlier call may hold. */
interface Seen {
  /** The last call at the time of the read. */
  readonly gid: string | null
  readonly stale: readonly string[]
}

/** A call that has prepared and may be about to reply, and when that was first seen. */
interface Spared {
  readonly gid: string | null
  readonly since: number
}

/** A call of the handler that is about to start. */
interface Attempt {
  readonly step: StepOwner
  readonly gid: string
  readonly base: string
  /** Transactions prepared by earlier calls, whose reply was never sent. */
  readonly stale: readonly string[]
}

/**
 * Calls the handler in a transaction that stays prepared. Its beginning is a separate commit with the name of the transaction, by
 * which it is found. A prepared transaction without a reply is rolled back and repeated: no caller has its result, and it is in
 * no readable row either.
 */
export class Preparing<Request, Context> implements DutyAhead<Request, Context> {
  readonly mayRefuse = true
  readonly needsRequest = true
  readonly #parts: XaParts
  readonly #handler: Handler<Request, Context>
  /** Refuses in the same way as any other participant. */
  readonly #otherwise: Doing<Request, Context>

  constructor(parts: XaParts, handler: Handler<Request, Context>) {
    this.#parts = parts
    this.#handler = handler
    this.#otherwise = new Doing(parts.barrier, handler, false)
  }

  /** The needed row is held until another saga is decided. */
  isHeld(error: unknown): boolean {
    return this.#parts.gate.isHeld(error)
  }

  async ahead(asked: Asked<Request, Context>): Promise<Decision> {
    const { gate, clock, lockTimeoutMs, room } = this.#parts
    const { command, busy } = asked
    using seat = room.enter()
    const waitMs = seat === undefined ? Math.min(lockTimeoutMs, BRIEFLY_MS) : lockTimeoutMs
    let seen: Seen | undefined
    let spared: Spared | undefined
    for (;;) {
      const begun = await this.#begin(command, seen)
      seen = undefined
      if ('operation' in begun && 'isNew' in begun) {
        const found = await this.#look(command, begun)
        const isPrepared = found !== undefined && found.stale.length > 0
        if (isPrepared && spared?.gid !== begun.gid) spared = { gid: begun.gid, since: clock.monotonic() }
        // A process that has prepared replies within a moment, unless it died, so wait for that moment.
        const isSpared = isPrepared && clock.monotonic() - (spared?.since ?? 0) < SPARED_MS
        if (found === undefined || isSpared) {
          await notYet(busy, `${command.key} is being done elsewhere`)
        } else {
          seen = found
        }
        continue
      }
      if ('status' in begun) return () => Promise.resolve(begun)
      for (const gid of begun.stale) await gate.end('ROLLBACK', gid, busy)
      const reply = await this.#prepare(asked, begun, waitMs)
      if (reply !== undefined) return (tx) => this.#keep(tx, command, begun, reply)
      await notYet(busy, `${command.key} was taken over`)
    }
  }

  uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    return this.#otherwise.uncalled(tx, command, no)
  }

  /** While another process runs the call, or has prepared without replying yet, it finishes the work: nothing is recorded. */
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
    const { isFree, prepared } = await gate.look(entry, await gate.base(command, entry))
    return !isFree && prepared.length === 0 ? undefined : { gid: entry.gid, stale: prepared }
  }

  /** @returns the previous reply, if any; the previous call, if it has to be checked first */
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
      await gate.begin(tx, entry, gid)
      return { step: entry, gid, base, stale: seen?.stale ?? [] }
    })
  }

  /** @returns the reply; `undefined`: another process runs the call */
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
      // The transaction is rolled back with all effects of earlier calls, so this is a definite refusal.
      const { operation, key, attempt: nth } = command
      const { code, message: text } = describeError(error)
      message.log.info({ sagaKey: key, operation, code, status: 'refused' }, 'saga command not done')
      const no: SagaReply = { ...answerTo(command), status: 'refused', code, message: text }
      return nth === undefined ? no : { ...no, attempt: nth }
    }
    throw new SagaError('saga.committed_by_hand', { key: command.key })
  }

  async #keep(tx: SqlTransaction, command: CommandHeaders, attempt: Attempt, reply: SagaReply): Promise<SagaReply> {
    const status = reply.status === 'ok' ? 'ok' : 'refused'
    const { step, gid } = attempt
    if (await this.#parts.rows.keep(tx, { step, gid, round: command.round }, status, reply)) return reply
    throw new SagaError('saga.xa_not_yet', {
      message: `${command.key} was taken over, or cancelled, before it was answered`,
    })
  }
}

/** Time from preparing to replying: one connection of the barrier and one commit. */
const SPARED_MS = 50

/** How long a call without a place waits: as long as a writer may take that prepares nothing. */
const BRIEFLY_MS = 50
