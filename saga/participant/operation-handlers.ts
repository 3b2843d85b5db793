/**
 * Handling of each operation of a participant, in the transaction of its reply: the use of the barrier, the call of the handler,
 * and the record. A kind of participant is a table of these; for a saga step they do and undo its effect.
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

/** End of an operation whose handler is not called, or fails. */
interface Giving {
  /**
   * True if the work waits for another saga, which may take long: the reply is sent at once, and the coordinator repeats the
   * command. Absent: never.
   */
  isHeld?(error: unknown): boolean
  /** True: the handler may refuse. Otherwise a refusal is a failure like any other. */
  readonly mayRefuse: boolean
  /** True: all effects of the handler are in its transaction, so a call that was rolled back had no effect. */
  readonly isInside?: boolean
  /**
   * Handles a command whose handler cannot be called: the payload is unreadable, or the command is for another kind of
   * participant.
   * @param no default reply
   */
  uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply>
  /** Handles a command whose handler failed. @param reply default reply */
  givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply>
}

/** Handling of one operation of a received command. */
export interface Duty<Request, Context> extends Giving {
  readonly ahead?: undefined
  /**
   * Called in its own transaction before each `decide`; absent: no record is needed before the handler is called.
   * @returns false when it was begun before: then a refusal does not prove that nothing was done
   */
  begin?(tx: SqlTransaction, command: CommandHeaders): Promise<boolean>
  /** Same for the first call, in one statement. @returns false: use `begin` */
  beginFirst?(sql: SqlClient, command: CommandHeaders): Promise<boolean>
  /**
   * Patience with errors of one command's `decide`; absent: they are answered. Resolves with true, after a pause, if the
   * transaction, which was rolled back, shall be repeated.
   */
  patience?(signal: AbortSignal): DutyPatience
  /** Handling of commands that share a transaction; absent: each is decided on its own there, too. */
  readonly together?: DutyTogether<Request, Context>
  /** Calls the handler, unless the barrier has a reply. @throws the error of the handler: roll back */
  decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply>
}

/** Same handling for several commands in one transaction: one statement reads the barrier for all, and one writes it. */
export interface DutyTogether<Request, Context> {
  readonly operation: Operation
  /**
   * Calls the handler, unless the barrier has a reply. Writes nothing yet.
   * @param found the record, locked
   */
  decideFound(found: BarrierEntry | undefined, asked: AskedTogether<Request, Context>): Promise<DecidedTogether>
}

/** A command with the arguments of its handler. */
export interface AskedTogether<Request, Context> {
  readonly request: Request
  readonly command: CommandHeaders
  readonly context: Context
}

export interface DecidedTogether {
  readonly reply: SagaReply
  /** Absent: the barrier already has this status. */
  readonly status?: BarrierStatus
}

/** Waiting time of a command. Dispose of it when the command is decided or abandoned. */
export interface DutyPatience extends Disposable {
  wait(error: unknown): Promise<boolean>
}

/** Creates the final reply to a command, in the transaction that sends it. */
export type Decision = (tx: SqlTransaction) => Promise<SagaReply>

/** A command with the arguments of its handler. */
export interface Asked<Request, Context> {
  readonly request: Request
  readonly command: CommandHeaders
  readonly message: HandlerContext
  /** Patience with another call that holds the step. Later commands wait behind this one. */
  readonly busy: BusyTries
  readonly contextIn: (tx: SqlTransaction) => Context
}

/** Handling of an operation whose work is not part of the transaction of its reply. */
export interface DutyAhead<Request, Context> extends Giving {
  /** False: the operation does not need a readable payload. */
  readonly needsRequest: boolean
  /** Performs the operation, in its own transactions. @returns the reply */
  ahead(asked: Asked<Request, Context>): Promise<Decision>
}

/** Operations that the participant accepts, with their handling. */
export type Duties<Request, Context> = Readonly<
  Partial<Record<Operation, Duty<Request, Context> | DutyAhead<Request, Context>>>
>

/**
 * Operations of a saga step: `invoke` may refuse, `compensate` undoes it and may not.
 * @param isInside true: all effects of `invoke` are in its transaction, so an uncommitted `invoke` needs no compensation
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
 * Records, before any work, that the work may happen, for the case that the process dies during it. The next call that finds this
 * record is a second one, and records that, too: the first process may still be alive, and a refusal applies to one call only.
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
    // Nothing was done in the earlier round, and an operator retries; or the call that was rolled back had no outside effects
    // yet.
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

/** Performs an effect that can be undone. */
export class Doing<Request, Context> implements Duty<Request, Context> {
  readonly mayRefuse = true
  readonly isInside: boolean
  readonly #barrier: Barrier
  readonly #handler: (request: Request, context: Context) => unknown
  readonly #kind: string | undefined

  /** @param kind stored with the reply, for effects that wait for a decision */
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
    // Work with outside effects began before, in a separate commit.
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
    // After a failed attempt that may have had an effect, the step still has to be undone.
    const isDoubtful = mayHaveEffect(entry)
    const said = isDoubtful ? inDoubt(no) : no
    await this.#barrier.keep(tx, entry, isDoubtful ? 'final' : 'refused', said, command.round)
    return said
  }

  async givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply> {
    const entry = await this.#barrier.enter(tx, command, 'invoke', status)
    const known = answered(command, entry)
    if (known !== undefined) return known
    // A refusal says that nothing was done. A failed attempt before it, or one that a process with outside effects began, may
    // have had an effect.
    const isOwn = entry.status === 'begun' && !this.isInside
    const isDoubtful = status === 'refused' && !isOwn && mayHaveEffect(entry)
    const said = isDoubtful ? inDoubt(reply) : reply
    await this.#barrier.keep(tx, entry, isDoubtful ? 'final' : status, said, command.round)
    return said
  }
}

/** Undoes the effect of `invoke`, and bars an `invoke` that arrives later. */
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

  /** Answers for a step that was never done; its payload is not needed. */
  async uncalled(tx: SqlTransaction, command: CommandHeaders, failed: SagaReply): Promise<SagaReply> {
    if (await isForgotten(this.#barrier, tx, command)) return forgotten(command)
    const invoked = await this.#barrier.hold(tx, command, 'invoke', 'cancelled')
    if (mayHaveEffect(invoked)) return failed
    return this.#undone(tx, command, invoked, await this.#barrier.enter(tx, command, 'compensate', 'ok'))
  }

  /** Records nothing, so a repeated command is tried again. */
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

/** Returns the recorded reply to an invoke; `undefined`: the handler decides. */
export function answered(
  command: CommandHeaders,
  { isNew, status, reply, round, barred }: BarrierEntry,
): SagaReply | undefined {
  if (isNew) return undefined
  if (status === 'cancelled') return cancelled(command)
  const isUndecided = status === 'none' || status === 'failed' || status === 'begun'
  // Nothing was done in the earlier round, and an operator asks for another reply.
  if (isUndecided || (status !== 'ok' && command.round > round)) return barred && notAgain(command, barred)
  return reply === null ? undefined : { ...reply, ...(command.birth !== '' && { birth: command.birth }) }
}

/** Tells whether the operation may have had an effect. Uncommitted work in the row's transaction has none. */
export function mayHaveEffect({ isNew, status, isOutside }: BarrierEntry): boolean {
  if (isNew || status === 'refused' || status === 'cancelled') return false
  return status === 'ok' || isOutside
}

/**
 * Handles a step that the coordinator knows as done but the barrier does not: its row was purged, or the database was restored
 * from an earlier time. An operator has to decide whether to undo it; it must not count as undone.
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

/** Another command may have done the step: it is neither called nor recorded. */
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

/** Marks the refusal of a step that may have had an effect: it is not repeated, and is undone. */
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
