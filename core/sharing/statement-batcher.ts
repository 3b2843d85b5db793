/**
 * Statements of several pieces of work in one transaction: what is asked for in one turn, or while others are answered, goes out together.
 * The answers are handed over one by one, and each piece has to end in the turn in which it gets its own. So what a piece does
 * behind its statement is not done at once with that of another one, and no statement that it could have held up was run before: it is as
 * if the pieces came one after the other. One that goes on after its turn breaks this, and nothing of any may be committed.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { SqlResult, SqlStatement, SqlTransaction } from '../sql.ts'

/** A piece of work that sends statements. */
export interface Asker {
  /** The piece has not ended. */
  readonly isOpen: boolean
  /** Told when it went on after its turn. */
  lingers(): void
}

interface Asked {
  readonly by: Asker
  /** With parameters; anything else is asked alone. */
  readonly statement: SqlStatement | undefined
  readonly alone: () => Promise<unknown>
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

type Together = Asked & { readonly statement: SqlStatement }

/** A transaction whose driver can send several. */
export type BatchingTransaction = SqlTransaction & { readonly batch: NonNullable<SqlTransaction['batch']> }

export function canBatch(tx: SqlTransaction): tx is BatchingTransaction {
  return tx.batch !== undefined
}

/** Ends a piece of work that starts again in a transaction of its own. Never visible outside. */
export class NeedsOwnTransaction extends Error {}

/** Asks one thing of the connection at a time, as `pg` will demand. */
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

  /** @param statement the same as what `alone` asks for, where it may go with others */
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
      // When all that is ready to ask has asked.
      this.#sending ??= endOfTurn().then(() => this.#sendAll())
    })
  }

  /** Resolves when everything was answered; the callers may not wait for that. */
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

/** When everything has been called that waits for nothing but promises. */
export function endOfTurn(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}
