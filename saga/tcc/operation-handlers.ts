/**
 * Operations of a TCC participant: `invoke` is its `try`, `compensate` its `cancel`. Confirming and cancelling both lock the row
 * of `invoke`, so one of them comes first and the other sees it.
 */
import type { SqlTransaction } from '../../core/sql.ts'
import type { Barrier } from '../participant/barrier.ts'
import type { BarrierEntry } from '../participant/barrier-entry.ts'
import {
  Beginning,
  Doing,
  type Duties,
  type Duty,
  forgotten,
  type GivenUp,
  isForgotten,
  mayHaveEffect,
} from '../participant/operation-handlers.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders, TCC } from '../wire/wire.ts'

/** Record of `try` for confirming or cancelling it. */
export interface Tried {
  /** True if `try` was committed. */
  readonly tried: boolean
  /** Its result, if it was committed. */
  readonly result: unknown
}

export interface TccFunctions<Request, Context> {
  readonly try: (request: Request, context: Context) => unknown
  readonly confirm: (request: Request, context: Context & Tried) => void | Promise<void>
  readonly cancel: (request: Request, context: Context & Tried) => void | Promise<void>
}

/** @param isInside true: all effects of `try` are in its transaction, so an uncommitted `try` needs no cancellation */
export function tccDuties<Request, Context>(
  barrier: Barrier,
  functions: TccFunctions<Request, Context>,
  isInside: boolean,
): Duties<Request, Context> {
  const trying = new Doing<Request, Context>(
    barrier,
    (request, context) => functions.try(request, context),
    isInside,
    TCC,
  )
  return {
    invoke: isInside ? trying : new Beginning(barrier, trying),
    confirm: new Confirming(barrier, async (request, context) => functions.confirm(request, context)),
    compensate: new Cancelling(barrier, async (request, context) => functions.cancel(request, context)),
  }
}

type Handler<Request, Context> = (request: Request, context: Context & Tried) => Promise<void>

/** Confirms a reservation, once. Only a committed reservation can be confirmed. */
class Confirming<Request, Context> implements Duty<Request, Context> {
  readonly mayRefuse = false
  readonly #barrier: Barrier
  readonly #handler: Handler<Request, Context>

  constructor(barrier: Barrier, handler: Handler<Request, Context>) {
    this.#barrier = barrier
    this.#handler = handler
  }

  async decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply> {
    const tried = await this.#barrier.hold(tx, command, 'invoke', 'cancelled')
    if (!isReserved(tried)) {
      // A confirmation holds even if the row of its `try` is missing: an operator accepted it, and a purge removed the row.
      const isDone = (await this.#barrier.find(tx, command, 'confirm')) !== undefined
      return isDone ? done(command) : notReserved(command)
    }
    const reply = done(command)
    const entry = await this.#barrier.enter(tx, command, 'confirm', 'ok', reply)
    if (entry.isNew) await this.#handler(request, { ...context, ...knownOf(tried) })
    return reply
  }

  /** Repeats the reply of a recorded confirmation; the payload is not needed. */
  async uncalled(tx: SqlTransaction, command: CommandHeaders, failed: SagaReply): Promise<SagaReply> {
    const entry = await this.#barrier.find(tx, command, 'confirm')
    return entry === undefined ? failed : done(command)
  }

  /** Records nothing, so a repeated command is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }
}

/** Cancels a reservation, once, and bars a later `try`. A `try` that never began is cancelled without calling the handler. */
class Cancelling<Request, Context> implements Duty<Request, Context> {
  readonly mayRefuse = false
  readonly #barrier: Barrier
  readonly #handler: Handler<Request, Context>

  constructor(barrier: Barrier, handler: Handler<Request, Context>) {
    this.#barrier = barrier
    this.#handler = handler
  }

  async decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply> {
    const tried = await this.#bar(tx, command)
    if ('final' in tried) return tried.final
    const entry = await this.#barrier.enter(tx, command, 'compensate', 'ok', done(command))
    if (!entry.isNew) return done(command)
    if (mayHaveEffect(tried)) await this.#handler(request, { ...context, ...knownOf(tried) })
    return this.#cancelled(tx, command, tried, entry)
  }

  /** Cancels without the payload if there is nothing to cancel. */
  async uncalled(tx: SqlTransaction, command: CommandHeaders, failed: SagaReply): Promise<SagaReply> {
    const tried = await this.#bar(tx, command)
    if ('final' in tried) return tried.final
    if (mayHaveEffect(tried)) return failed
    return this.#cancelled(
      tx,
      command,
      tried,
      await this.#barrier.enter(tx, command, 'compensate', 'ok', done(command)),
    )
  }

  /** Records nothing, so a repeated command is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }

  /** Bars a later `try`. @returns its row, or the reply if there is nothing left to cancel */
  async #bar(tx: SqlTransaction, command: CommandHeaders): Promise<BarrierEntry | { readonly final: SagaReply }> {
    if (await isForgotten(this.#barrier, tx, command)) return { final: forgotten(command) }
    const tried = await this.#barrier.hold(tx, command, 'invoke', 'cancelled')
    const isStanding = (await this.#barrier.find(tx, command, 'confirm')) !== undefined
    return isStanding ? { final: isConfirmed(command) } : tried
  }

  async #cancelled(
    tx: SqlTransaction,
    command: CommandHeaders,
    tried: BarrierEntry,
    entry: BarrierEntry,
  ): Promise<SagaReply> {
    const reply = done(command)
    if (!tried.isNew) await this.#barrier.mark(tx, tried, 'cancelled')
    if (!entry.isNew) await this.#barrier.keep(tx, entry, 'ok', reply, command.round)
    return reply
  }
}

function isReserved({ isNew, status }: BarrierEntry): boolean {
  return !isNew && status === 'ok'
}

function knownOf(tried: BarrierEntry): Tried {
  return isReserved(tried) ? { tried: true, result: tried.reply?.result } : { tried: false, result: undefined }
}

export function done(command: CommandHeaders): SagaReply {
  return { ...answerTo(command), status: 'ok' }
}

export function notReserved(command: CommandHeaders): SagaReply {
  const message = 'nothing is reserved: it was cancelled, it was never tried, or its row of the barrier was deleted'
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.not_reserved', message }
}

export function isConfirmed(command: CommandHeaders): SagaReply {
  const message = 'it was confirmed, and cannot be cancelled any more'
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.confirmed', message }
}
