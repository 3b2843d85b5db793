/** Confirmation of an XA participant. */

import type { SqlTransaction } from '../../core/sql.ts'
import { SagaError } from '../errors.ts'
import type { BarrierEntry } from '../participant/barrier-entry.ts'
import type { Asked, Decision, DutyAhead, GivenUp } from '../participant/operation-handlers.ts'
import { done, notReserved } from '../tcc/operation-handlers.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import { baseOf } from './gid.ts'
import type { XaParts } from './handler-dependencies.ts'

/** Outcome of the handler's last call. */
interface Known {
  readonly gid: string | null
  readonly status: BarrierEntry['status']
  readonly isCommitted: boolean
}

/** Commits the prepared transaction, once. If there is none, an operator has to act. */
export class Committing<Request, Context> implements DutyAhead<Request, Context> {
  readonly mayRefuse = false
  readonly needsRequest = false
  readonly #parts: XaParts

  constructor(parts: XaParts) {
    this.#parts = parts
  }

  async ahead({ command, busy }: Asked<Request, Context>): Promise<Decision> {
    const { sql, barrier, gate } = this.#parts
    const entry = await barrier.peek(sql, command, 'invoke')
    if (entry?.gid == null) {
      const isCommitted = await this.#isCommittedElsewhere(command, entry)
      return (tx) => this.#decide(tx, command, { gid: null, status: 'cancelled', isCommitted })
    }
    const { gid, status } = entry
    if (status === 'ok') await gate.end('COMMIT', gid, busy)
    const isCommitted = await this.#isCommitted(command, gid)
    return (tx) => this.#decide(tx, command, { gid, status, isCommitted })
  }

  /** A participant restored from an older copy has no row of the try, but a resource with its own gate still knows it. */
  async #isCommittedElsewhere(command: CommandHeaders, entry: BarrierEntry | undefined): Promise<boolean> {
    const { gate } = this.#parts
    if (!gate.isApart) return false
    const base = await gate.base(command, entry)
    return (await gate.committed(command, base))?.startsWith(base) === true
  }

  /** @throws `saga.xa_not_yet` while the transaction may still become committed */
  async #isCommitted(command: CommandHeaders, gid: string): Promise<boolean> {
    const { gate } = this.#parts
    const base = baseOf(gid)
    if ((await gate.committed(command, base)) === gid) return true
    const { isFree, prepared } = await gate.look(command, base)
    if (prepared.length > 0) {
      const why = 'it became so in this moment, or this database is an old copy that lost the answer to the try'
      throw new SagaError('saga.xa_not_yet', { message: `${command.key}: ${prepared.join()} is prepared: ${why}` })
    }
    if (!isFree)
      throw new SagaError('saga.xa_not_yet', {
        message: `${command.key} is held by a transaction that is neither prepared nor ended: ${gid}`,
      })
    // No transaction holds it any longer, so its content is final.
    return (await gate.committed(command, base)) === gid
  }

  async #decide(tx: SqlTransaction, command: CommandHeaders, known: Known): Promise<SagaReply> {
    const { barrier } = this.#parts
    const { gid, status } = await barrier.hold(tx, command, 'invoke', 'cancelled')
    if (gid !== known.gid || (status === 'ok' && gid !== null && known.status !== 'ok'))
      throw new SagaError('saga.xa_not_yet', { message: `${command.key} has begun in this moment` })
    if (known.isCommitted) {
      await barrier.enter(tx, command, 'confirm', 'ok', done(command))
      return done(command)
    }
    // A confirmation holds even if the row of its try, or the record of its commit, was purged.
    if ((await barrier.find(tx, command, 'confirm')) !== undefined) return done(command)
    return gid !== null && status === 'ok' ? notPrepared(command, gid) : notReserved(command)
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

function notPrepared(command: CommandHeaders, gid: string): SagaReply {
  const message = `transaction ${gid} was prepared, and is now neither prepared nor committed: it was rolled back, or the database is an old copy`
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.not_prepared', message }
}
