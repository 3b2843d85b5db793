/**
 * Operations of an undo participant: those of a TCC participant whose `try` executes the handler, whose `confirm` deletes the
 * images, and whose `cancel` restores the rows. Images are written in the transaction of `try`, so they exist if and only if its
 * writes were committed.
 */
import type { Clock } from '../../core/clock.ts'
import { throwFromOwnStatement } from '../../core/own-statements.ts'
import type { SqlTransaction } from '../../core/sql.ts'
import type { Duties, Duty, DutyPatience, GivenUp } from '../participant/operation-handlers.ts'
import type { RowWaitLimit } from '../participant/row-wait-limit.ts'
import { tccDuties } from '../tcc/operation-handlers.ts'
import type { SagaReply } from '../wire/reply.ts'
import type { CommandHeaders } from '../wire/wire.ts'
import { branchOf, ownerOf } from './branch-image-store.ts'
import { isRowHeld, notProtected, UndoError } from './errors.ts'
import { whileHeld } from './held-row-retries.ts'
import { type RestoreParts, restore } from './restore.ts'

type Handler<Request, Context> = (request: Request, context: Context) => unknown

export interface UndoParts extends RestoreParts {
  /** For calls that wait for a row. */
  readonly room: RowWaitLimit
  readonly clock: Clock
  readonly lockTimeoutMs: number
}

interface InTransaction {
  readonly tx: SqlTransaction
}

export function undoDuties<Request, Context extends InTransaction>(
  parts: UndoParts,
  handler: Handler<Request, Context>,
): Duties<Request, Context> {
  return {
    invoke: new ForCommand('invoke', parts, handler),
    confirm: new ForCommand('confirm', parts, handler),
    compensate: new ForCommand('compensate', parts, handler),
  }
}

/** Operation of a TCC participant with access to the command. */
class ForCommand<Request, Context extends InTransaction> implements Duty<Request, Context> {
  readonly mayRefuse: boolean
  readonly isInside = true
  readonly #operation: 'invoke' | 'confirm' | 'compensate'
  readonly #parts: UndoParts
  readonly #handler: Handler<Request, Context>

  constructor(operation: 'invoke' | 'confirm' | 'compensate', parts: UndoParts, handler: Handler<Request, Context>) {
    this.mayRefuse = operation === 'invoke'
    this.#operation = operation
    this.#parts = parts
    this.#handler = handler
  }

  isHeld(error: unknown): boolean {
    return this.#operation === 'invoke' && isRowHeld(error)
  }

  patience(signal: AbortSignal): DutyPatience {
    const { clock, lockTimeoutMs, room } = this.#parts
    const isPassing = whileHeld(clock, lockTimeoutMs, signal)
    let seat: Disposable | undefined
    return {
      wait: async (error) => {
        if (this.isHeld(error) && (seat ??= room.enter()) === undefined) return false
        return isPassing(error)
      },
      [Symbol.dispose]: () => seat?.[Symbol.dispose](),
    }
  }

  async decide(tx: SqlTransaction, request: Request, command: CommandHeaders, context: Context): Promise<SagaReply> {
    if (this.#operation !== 'invoke') {
      const { images, lockTimeoutMs } = this.#parts
      // Before the barrier: a transaction that holds its row while waiting for this lock would block the holder of the lock.
      await images.alone(tx, ownerOf(command), command.key, lockTimeoutMs)
    }
    return this.#of(command).decide(tx, request, command, context)
  }

  /** Only executing it needs the payload. */
  uncalled(tx: SqlTransaction, command: CommandHeaders, no: SagaReply): Promise<SagaReply> {
    if (this.#operation === 'invoke') return this.#of(command).uncalled(tx, command, no)
    return this.decide(tx, undefined as Request, command, { tx } as Context)
  }

  givenUp(tx: SqlTransaction, command: CommandHeaders, status: GivenUp, reply: SagaReply): Promise<SagaReply> {
    return this.#of(command).givenUp(tx, command, status, reply)
  }

  #of(command: CommandHeaders): Duty<Request, Context> {
    const { barrier, images } = this.#parts
    const branch = { branch: branchOf(command), owner: ownerOf(command), key: command.key }
    const duties = tccDuties<Request, Context>(
      barrier,
      {
        try: (request, context) => this.#do(command, request, context),
        confirm: async (_, { tx }) => {
          if (!(await images.release(tx, branch.branch)))
            throw new UndoError('saga.wrong_participant', { key: branch.key })
        },
        cancel: async (_, { tx }) => {
          if (!(await images.isOpen(tx, branch.branch)))
            throw new UndoError('saga.wrong_participant', { key: branch.key })
          await restore(tx, this.#parts, branch).catch(throwFromOwnStatement)
        },
      },
      true,
    )
    return duties[this.#operation] as Duty<Request, Context>
  }

  /** @throws notProtected when it made writes that cannot be undone */
  async #do(command: CommandHeaders, request: Request, context: Context): Promise<unknown> {
    const { images, lockTimeoutMs, alsoWrites } = this.#parts
    const before = await images.begin(context.tx, command, lockTimeoutMs, alsoWrites)
    const result = await this.#handler(request, context)
    const strayed = await images.end(context.tx, before, alsoWrites)
    if (strayed.length > 0) throw notProtected(command.key, strayed)
    return result
  }
}
