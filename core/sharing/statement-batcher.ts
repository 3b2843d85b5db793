/**
 * Batches statements of several pieces of work in one transaction: statements requested in one turn, or while others are running,
 * are sent together. The results are delivered one by one, and each piece has to end in the turn in which it gets its own. So the
 * code of a piece after its statement does not run at the same time as that of another piece, and no statement that it could have
 * delayed was run earlier: the effect is as if the pieces came one after the other. A piece that continues after its turn
 * violates this, and nothing of any piece may be committed.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { SqlResult, SqlStatement, SqlTransaction } from '../sql.ts'

/** A piece of work that sends statements. */
export interface Asker {
  /** True while the piece has not ended. */
  readonly isOpen: boolean
  /** Called if it continued after its turn. */
  lingers(): void
}

interface Asked {
  readonly by: Asker
  /** A statement with parameters; anything else is sent alone. */
  readonly statement: SqlStatement | undefined
  readonly alone: () => Promise<unknown>
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

type Together = Asked & { readonly statement: SqlStatement }

/** A transaction whose driver can send several statements at once. */
export type BatchingTransaction = SqlTransaction & { readonly batch: NonNullable<SqlTransaction['batch']> }

export function canBatch(tx: SqlTransaction): tx is BatchingTransaction {
  return tx.batch !== undefined
}

/** Ends a piece of work that starts again in its own transaction. Never visible outside. */
export class NeedsOwnTransaction extends Error {}

/** Sends one request at a time on the connection, as future versions of `pg` will require. */
export class StatementBatcher {
  readonly #tx: BatchingTransaction
  #asked: Asked[] = []
  #sending: Promise<void> | undefined
  #isBroken = false

  constructor(tx: BatchingTransaction) {
    this.#tx = tx
  }

  query<Row extends object>(by: Asker, text: string, parameters?: readonly unknown[]): Promise<SqlResult<Row>> {
    const canJoin = typeof text === 'string' && Array.isArray(parameters) && parameters.length > 0
    return this.ask(
      by,
      () => this.#tx.query<Row>(text, parameters),
      canJoin ? { text, parameters: [...parameters] } : undefined,
    )
  }

  /** @param statement the statement that `alone` sends, if it may be sent with others */
  ask<T>(by: Asker, alone: () => Promise<T>, statement?: SqlStatement): Promise<T> {
    if (this.#isBroken) return Promise.reject(new NeedsOwnTransaction())
    return new Promise((resolve, reject) => {
      this.#asked.push({
        by,
        statement,
        alone: AsyncLocalStorage.bind(alone),
        resolve: resolve as Asked['resolve'],
        reject,
      })
      // After all pieces that are ready have sent their requests.
      this.#sending ??= endOfTurn().then(() => this.#sendAll())
    })
  }

  /** Resolves when all requests have a result; the callers may not wait for that. */
  async answered(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending
  }

  /** Never rejects. */
  async #sendAll(): Promise<void> {
    while (this.#asked.length > 0) {
      const asked = this.#asked
      this.#asked = []
      const together = asked.filter((one): one is Together => one.statement !== undefined)
      if (together.length > 1) await this.#send(together)
      const alone = together.length > 1 ? asked.filter(({ statement }) => statement === undefined) : asked
      for (const one of alone) {
        if (this.#isBroken) one.reject(new NeedsOwnTransaction())
        else {
          const [outcome] = await Promise.allSettled([one.alone()])
          await this.#handOver(one, outcome)
        }
      }
    }
    this.#sending = undefined
  }

  async #send(asked: readonly Together[]): Promise<void> {
    let outcomes: readonly PromiseSettledResult<unknown>[]
    try {
      outcomes = this.#isBroken ? [] : await this.#tx.batch(asked.map(({ statement }) => statement))
    } catch (reason) {
      outcomes = asked.map(() => ({ status: 'rejected', reason }))
    }
    for (const [i, one] of asked.entries()) await this.#handOver(one, outcomes[i])
  }

  async #handOver(one: Asked, outcome: PromiseSettledResult<unknown> | undefined): Promise<void> {
    if (this.#isBroken || outcome === undefined) return one.reject(new NeedsOwnTransaction())
    if (outcome.status === 'fulfilled') one.resolve(outcome.value)
    else one.reject(outcome.reason)
    await endOfTurn()
    if (!one.by.isOpen) return
    this.#isBroken = true
    one.by.lingers()
  }
}

/** Resolves after everything that only waits for promises has run. */
export function endOfTurn(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}
