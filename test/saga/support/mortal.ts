import type { SqlClient, SqlExecutor, SqlTransaction } from 'concordat/core'

/** The process that used this client has ended. */
export class Dead extends Error {}

/**
 * A client whose process dies at its n-th step: a statement, a commit or a preparation, just before it reached the database or just
 * after the database did it. From then on nothing gets through; with `recovers` only that one step fails.
 */
export class MortalClient implements SqlClient {
  steps = 0
  dead = false
  readonly #inner: SqlClient
  readonly #dieAt: number
  readonly #when: 'before' | 'after'
  readonly #recovers: boolean

  constructor(inner: SqlClient, dieAt: number, when: 'before' | 'after', recovers = false) {
    this.#inner = inner
    this.#dieAt = dieAt
    this.#when = when
    this.#recovers = recovers
  }

  query: SqlExecutor['query'] = (text, parameters) => this.step(() => this.#inner.query(text, parameters))

  transaction<T>(work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
    return this.#transaction(work, (mortalWork) => this.#inner.transaction(mortalWork))
  }

  async prepare<T>(gid: string, work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
    return this.#transaction(work, async (mortalWork) => {
      if (this.#inner.prepare === undefined) throw new TypeError('the client inside cannot prepare')
      return this.#inner.prepare(gid, mortalWork)
    })
  }

  async #transaction<T>(
    work: (tx: SqlTransaction) => Promise<T>,
    run: (work: (tx: SqlTransaction) => Promise<T>) => Promise<T>,
  ): Promise<T> {
    this.#requireAlive()
    let dies = false
    const result = await run(async (tx) => {
      const mortal: SqlTransaction = {
        ...tx,
        // The commit is a step of its own.
        last: undefined,
        query: (text, parameters) => this.step(() => tx.query(text, parameters)),
      }
      const outcome = await work(mortal)
      dies = ++this.steps === this.#dieAt
      if (dies && this.#when === 'before') this.#die()
      return outcome
    })
    if (dies) this.#die()
    return result
  }

  async step<T>(work: () => Promise<T>): Promise<T> {
    this.#requireAlive()
    const dies = ++this.steps === this.#dieAt
    if (dies && this.#when === 'before') this.#die()
    const result = await work()
    if (dies) this.#die()
    this.#requireAlive()
    return result
  }

  #die(): never {
    this.dead = !this.#recovers
    throw new Dead('killed')
  }

  #requireAlive(): void {
    if (this.dead) throw new Dead('dead')
  }
}
