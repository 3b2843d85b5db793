/**
 * What a participant does about each operation, in the transaction of its answer: what the barrier is asked, when the
 * handler is called, what is kept. A kind of participant is a table of these: that of a saga step undoes what it did.
 */
import type { HandlerContext } from '../../binder/bindings/handler-types.ts'
import type { SqlClient, SqlTransaction } from '../../core/sql.ts'
import type { BusyTries } from '../../core/transaction-retries.ts'
import { stored } from '../json.ts'
import type { Operation } from '../machine/operation.ts'
import type { SagaReply } from '../wire/reply.ts'
import { answerTo, type CommandHeaders } from '../wire/wire.ts'
import type { Barrier } from './barrier.ts'
import type { Barred, BarrierEntry, BarrierStatus } from './barrier-entry.ts'

/** How a command is given up: `failed` may be tried again. */
export type GivenUp = 'refused' | 'final' | 'failed'

/** How an operation ends when its handler is not called, or does not do it. */
interface Giving {
  /** True if the work waits for another saga, which may take long: it is answered at once, and the coordinator asks again. Absent: never. */
  isHeld?(error: unknown): boolean
  /** True: the handler may say no. Else its refusal is a failure like any other. */
  readonly mayRefuse: boolean
  /** True: all that the handler does is in its transaction, so a call that was rolled back did nothing. */
  readonly isInside?: boolean
  /**
   * The handler cannot be called: the payload cannot be read, or the command is for another kind of participant.
   * @param no what is to be said if nothing better is known
   */
  uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply>
  /** The handler was called and did not do it. @param reply what is to be said if nothing better is known */
  givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply>
}

/** Handling of an operation of a received command. */
export interface Duty<Request, Context> extends Giving {
  readonly ahead?: undefined
  /**
   * Called in a transaction of its own before each `decide`; absent: nothing is to be known before the handler is called.
   * @returns false when it was begun before: then its refusal does not say that nothing was done
   */
  begin?(tx: SqlTransaction, command: CommandHeaders): Promise<boolean>
  /** The same of the first call, in one statement. @returns false: it is to be begun by `begin` */
  beginFirst?(sql: SqlClient, command: CommandHeaders): Promise<boolean>
  /**
   * What to do about errors of one command's `decide`; absent: they are answered. Resolved with true, after a pause: its
   * transaction, which was rolled back, is to be made again.
   */
  patience?(signal: AbortSignal): DutyPatience
  /** For commands that share a transaction; absent: each is decided by itself there, too. */
  readonly together?: DutyTogether<Request, Context>
  /** Calls the handler, unless the barrier knows better. @throws what the handler throws: roll back */
  decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply>
}

/** The same duty done for several commands in one transaction: what the barrier is asked and told is a statement for all. */
export interface DutyTogether<Request, Context> {
  readonly operation: Operation
  /**
   * Calls the handler, unless the barrier knows better. Nothing is written yet.
   * @param found what is entered, locked
   */
  decideFound(found: BarrierEntry | undefined, asked: AskedTogether<Request, Context>): Promise<DecidedTogether>
}

/** A command, and what its handler is called with. */
export interface AskedTogether<Request, Context> {
  readonly request: Request
  readonly command: CommandHeaders
  readonly context: Context
}

export interface DecidedTogether {
  readonly reply: SagaReply
  /** Absent: the barrier says so already. */
  readonly status?: BarrierStatus
}

/** Waiting time of a command. Dispose of it when the command is decided or abandoned. */
export interface DutyPatience extends Disposable {
  wait(error: unknown): Promise<boolean>
}

/** Makes the final reply to a command, in the transaction that sends it. */
export type Decision = (tx: SqlTransaction) => Promise<SagaReply>

/** A command, and what its handler is told. */
export interface Asked<Request, Context> {
  readonly request: Request
  readonly command: CommandHeaders
  readonly message: HandlerContext
  /** Patience with another call that holds the step. Later commands wait behind this one. */
  readonly busy: BusyTries
  readonly contextIn: (tx: SqlTransaction) => Context
}

/** Handling of an operation whose work is not done in the transaction of its answer. */
export interface DutyAhead<Request, Context> extends Giving {
  /** False: it can be done when the payload cannot be read. */
  readonly needsRequest: boolean
  /** Does it, in transactions of its own. @returns what is to be said about it */
  ahead(asked: Asked<Request, Context>): Promise<Decision>
}

/** An operation without one is nothing that the participant can be asked for. */
export type Duties<Request, Context> = Readonly<
  Partial<Record<Operation, Duty<Request, Context> | DutyAhead<Request, Context>>>
>

/**
 * Those of a saga step: `invoke` may refuse, `compensate` undoes it and may not.
 * @param isInside all that `invoke` does is in its transaction: what was not committed needs no compensation
 */
export function stepDuties<Request, Context>(
  barrier: Barrier,
  handlers: {
    readonly invoke: (request: Request, context: Context) => unknown
    readonly compensate: (request: Request, context: Context) => void | Promise<void>
  },
  isInside = false,
): Duties<Request, Context> {
  const invoking = new Doing<Request, Context>(
    barrier,
    (request, context) => handlers.invoke(request, context),
    isInside,
  )
  return {
    invoke: isInside ? invoking : new Beginning(barrier, invoking),
    compensate: new Undoing(barrier, async (request, context) => handlers.compensate(request, context)),
  }
}

/**
 * Records, before any work, that the work may happen: a process that dies in the middle leaves this record. The next call that finds it is a
 * second one, and records that, too: the first process may still be alive, and its refusal speaks only for itself.
 */
export class Beginning<Request, Context> implements Duty<Request, Context> {
  readonly mayRefuse = true
  readonly #barrier: Barrier
  readonly #doing: Doing<Request, Context>

  constructor(barrier: Barrier, doing: Doing<Request, Context>) {
    this.#barrier = barrier
    this.#doing = doing
  }

  async begin(tx: SqlTransaction, command: CommandHeaders): Promise<boolean> {
    const entry = await this.#barrier.enter(tx, command, 'invoke', 'begun')
    if (entry.isNew) return true
    if (entry.barred !== undefined) return false
    // Nothing was done in the earlier round, and a person asks again; or in what was rolled back, before effects were had elsewhere.
    const isAgain = entry.status === 'refused' && command.round > entry.round
    const isFirst = isAgain || (entry.status === 'failed' && !entry.isOutside)
    const isAfterFinal = entry.status === 'final' && command.round > entry.round
    if (isFirst || isAfterFinal || entry.status === 'begun')
      await this.#barrier.mark(tx, entry, isFirst ? 'begun' : 'failed')
    return isFirst
  }

  beginFirst(sql: SqlClient, command: CommandHeaders): Promise<boolean> {
    return this.#barrier.enterAlone(sql, command, 'invoke', 'begun')
  }

  get together(): DutyTogether<Request, Context> {
    return this.#doing.together
  }

  decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply> {
    return this.#doing.decide(tx, request, command, context)
  }

  uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    return this.#doing.uncalled(tx, command, no)
  }

  givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return this.#doing.givenUp(tx, command, status, reply)
  }
}

/** Makes an effect that can be undone. */
export class Doing<Request, Context> implements Duty<Request, Context> {
  readonly mayRefuse = true
  readonly isInside: boolean
  readonly #barrier: Barrier
  readonly #handler: (request: Request, context: Context) => unknown
  readonly #kind: string | undefined

  /** @param kind kept with the answer: what was done waits for a decision */
  constructor(
    barrier: Barrier,
    handler: (request: Request, context: Context) => unknown,
    isInside: boolean,
    kind?: string,
  ) {
    this.#barrier = barrier
    this.#handler = handler
    this.isInside = isInside
    this.#kind = kind
  }

  #ok(command: CommandHeaders): SagaReply {
    return { ...answerTo(command), status: 'ok', ...(this.#kind !== undefined && { kind: this.#kind }) }
  }

  async decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply> {
    const ok = this.#ok(command)
    // Work with outside effects began before, in a commit of its own.
    const entry = await this.#barrier[this.isInside ? 'enter' : 'hold'](tx, command, 'invoke', 'ok', ok)
    const known = answered(command, entry)
    if (known !== undefined) return known
    const reply = await this.#call(request, command, context)
    if (reply.result === undefined && entry.isNew) return ok
    await this.#barrier.keep(tx, entry, 'ok', reply, command.round)
    return reply
  }

  readonly together: DutyTogether<Request, Context> = {
    operation: 'invoke',
    decideFound: async (found, { request, command, context }) => {
      const known = found && answered(command, found)
      if (known !== undefined) return { reply: known }
      return { reply: await this.#call(request, command, context), status: 'ok' }
    },
  }

  async #call(request: Request, command: CommandHeaders, context: Context): Promise<SagaReply> {
    const result = stored(`result of ${command.key}`, await this.#handler(request, context), Number.POSITIVE_INFINITY)
    const ok = this.#ok(command)
    return result === undefined ? ok : { ...ok, result }
  }

  async uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    const entry = await this.#barrier.enter(tx, command, 'invoke', 'refused')
    const known = answered(command, entry)
    if (known !== undefined) return known
    // After an attempt that failed, maybe with an effect, it stays one that has to be undone.
    const isDoubtful = mayHaveEffect(entry)
    const said = isDoubtful ? inDoubt(no) : no
    await this.#barrier.keep(tx, entry, isDoubtful ? 'final' : 'refused', said, command.round)
    return said
  }

  async givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply> {
    const entry = await this.#barrier.enter(tx, command, 'invoke', status)
    const known = answered(command, entry)
    if (known !== undefined) return known
    // A refusal says that nothing was done. An attempt that failed before it, or that a process with effects elsewhere began, may
    // have done something.
    const isOwn = entry.status === 'begun' && !this.isInside
    const isDoubtful = status === 'refused' && !isOwn && mayHaveEffect(entry)
    const said = isDoubtful ? inDoubt(reply) : reply
    await this.#barrier.keep(tx, entry, isDoubtful ? 'final' : status, said, command.round)
    return said
  }
}

/** Undoes what `invoke` did, and refuses one that comes later. */
class Undoing<Request, Context> implements Duty<Request, Context> {
  readonly mayRefuse = false
  readonly #barrier: Barrier
  readonly #handler: (request: Request, context: Context) => Promise<void>

  constructor(barrier: Barrier, handler: (request: Request, context: Context) => Promise<void>) {
    this.#barrier = barrier
    this.#handler = handler
  }

  async decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply> {
    if (await isForgotten(this.#barrier, tx, command)) return forgotten(command)
    const invoked = await this.#barrier.hold(tx, command, 'invoke', 'cancelled')
    const entry = await this.#barrier.enter(tx, command, 'compensate', 'ok')
    if (!entry.isNew && entry.status === 'ok') return { ...answerTo(command), status: 'ok' }
    if (mayHaveEffect(invoked)) await this.#handler(request, context)
    return this.#undone(tx, command, invoked, entry)
  }

  /** Undoes a step that was never done; its payload is not needed. */
  async uncalled(tx: SqlTransaction, command: CommandHeaders, failed: SagaReply): Promise<SagaReply> {
    if (await isForgotten(this.#barrier, tx, command)) return forgotten(command)
    const invoked = await this.#barrier.hold(tx, command, 'invoke', 'cancelled')
    if (mayHaveEffect(invoked)) return failed
    return this.#undone(tx, command, invoked, await this.#barrier.enter(tx, command, 'compensate', 'ok'))
  }

  /** Nothing is kept: asked again, it is tried again. */
  async givenUp(_: SqlTransaction, __: CommandHeaders, ___: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return reply
  }

  async #undone(
    tx: SqlTransaction,
    command: CommandHeaders,
    invoked: BarrierEntry,
    entry: BarrierEntry,
  ): Promise<SagaReply> {
    const reply: SagaReply = { ...answerTo(command), status: 'ok' }
    if (!invoked.isNew) await this.#barrier.mark(tx, invoked, 'cancelled')
    await this.#barrier.keep(tx, entry, 'ok', reply, command.round)
    return reply
  }
}

/** Known answer to an invoke; `undefined`: the handler decides. */
export function answered(
  command: CommandHeaders,
  { isNew, status, reply, round, barred }: BarrierEntry,
): SagaReply | undefined {
  if (isNew) return undefined
  if (status === 'cancelled') return cancelled(command)
  const isUndecided = status === 'none' || status === 'failed' || status === 'begun'
  // Nothing was done in the earlier round, and a person asks for another answer.
  if (isUndecided || (status !== 'ok' && command.round > round)) return barred && notAgain(command, barred)
  return reply === null ? undefined : { ...reply, ...(command.birth !== '' && { birth: command.birth }) }
}

/** Work in the row's transaction that was not committed has no effect. */
export function mayHaveEffect({ isNew, status, isOutside }: BarrierEntry): boolean {
  if (isNew || status === 'refused' || status === 'cancelled') return false
  return status === 'ok' || isOutside
}

/**
 * The coordinator was told that the step was done, and the barrier does not know of it: its row was purged, or the database was
 * restored from before the step. Whether it is still to be undone is for an operator to see; it must not count as undone.
 */
export async function isForgotten(barrier: Barrier, tx: SqlTransaction, command: CommandHeaders): Promise<boolean> {
  if (command.succeeded !== true) return false
  const entry = await barrier.find(tx, command, 'invoke')
  return entry === undefined || (entry.status !== 'cancelled' && !mayHaveEffect(entry))
}

export function forgotten(command: CommandHeaders): SagaReply {
  const message =
    'the step was answered ok, and the barrier has no row of it: the row was purged, or the database was restored from before. ' +
    'Undo it by hand if it is still there, then skip'
  return { ...answerTo(command), status: 'failed', final: true, code: 'saga.step_forgotten', message }
}

/** The step may have been done by an unrelated command: it is neither done nor entered. */
function notAgain(command: CommandHeaders, { by, at }: Barred): SagaReply {
  const { saga, sagaId, step } = command
  const failed = { ...answerTo(command), status: 'failed', final: true } as const
  if (by === 'standing') {
    const message =
      `step "${step}" of ${saga}/${sagaId} was done at ${at} by an earlier saga with this id, and what it did stands: use another id. ` +
      'Or look at what stands, call purgeParticipant or delete its rows of saga_barrier, then retry'
    return { ...failed, code: 'saga.done_before', message }
  }
  const message =
    `step "${step}" of ${saga}/${sagaId} was asked for before ${at}, and what was done until then is purged here (purgeParticipant): ` +
    'it may be done already. Look at what stands, then ask for it under another id'
  return { ...failed, code: 'saga.command_too_old', message }
}

/** A no of a step that may have had an effect all the same: it is not asked for again, and is undone. */
export function inDoubt(reply: SagaReply): SagaReply {
  return { ...reply, status: 'failed', final: true }
}

function cancelled(command: CommandHeaders): SagaReply {
  return {
    ...answerTo(command),
    status: 'refused',
    code: 'saga.cancelled',
    message: 'it was compensated before it came',
  }
}
