/**
 * The duties of a TCC participant: `invoke` is its `try`, `compensate` its `cancel`. Who confirms and who cancels both hold
 * the row of `invoke`, so of the two one comes first and the other sees it.
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
  /** True: it was committed. */
  readonly tried: boolean
  /** Its result, if it was committed. */
  readonly result: unknown
}

export interface TccFunctions<Request, Context> {
  readonly try: (request: Request, context: Context) => unknown
  readonly confirm: (request: Request, context: Context & Tried) => void | Promise<void>
  readonly cancel: (request: Request, context: Context & Tried) => void | Promise<void>
}

/** @param isInside all that `try` does is in its transaction: what was not committed needs no cancellation */
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

/** Makes final what was reserved, once; what was not is nothing that can be confirmed. */
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
      // A confirmation stands even if the row of its try is gone: an operator accepted it, and a purge removed it.
      const isDone = (await this.#barrier.find(tx, command, 'confirm')) !== undefined
      return isDone ? done(command) : notReserved(command)
    }
    const reply = done(command)
    const entry = await this.#barrier.enter(tx, command, 'confirm', 'ok', reply)
    if (entry.isNew) await this.#handler(request, { ...context, ...knownOf(tried) })
    return reply
  }

  /** Repeats a confirmation that stands; its payload is not needed. */
  async uncalled(tx: SqlTransaction, command: CommandHeaders, failed: SagaReply): Promise<SagaReply> {
    const entry = await this.#barrier.find(tx, command, 'confirm')
    return entry === undefined ? failed : done(command)
  }

  /** Nothing is kept: asked again, it is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }
}

/** Gives up what was reserved, once, and refuses a `try` that comes later; what was never begun is given up as it is. */
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

  /** Cancels without the payload if nothing needs a cancellation. */
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

  /** Nothing is kept: asked again, it is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }

  /** Bars a `try` that comes later. @returns its row, or the answer if there is nothing to give up any longer */
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
