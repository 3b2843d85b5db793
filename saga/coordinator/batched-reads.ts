/** Batches reads: those requested while a read is under way share the next one, so many need one round trip. */

import { lastingContext } from '../../core/async-contexts.ts'
import { refuseOwnTransaction, type SqlClient } from '../../core/sql.ts'
import { retryIndividually } from './retry-individually.ts'

const MAX_BATCH = 128

/** Reads many keys. Returns the values in the order of the keys. */
export type ReadMany<Key, Value> = (keys: readonly Key[]) => Promise<readonly Value[]>

interface Asked<Key, Value> {
  readonly key: Key
  readonly resolve: (value: Value) => void
  readonly reject: (error: unknown) => void
}

export class BatchedReads<Key, Value> {
  readonly #read: ReadMany<Key, Value>
  readonly #sql: Pick<SqlClient, 'isInTransaction'>
  readonly #detached: <T>(work: () => T) => T = lastingContext()
  readonly #asked: Asked<Key, Value>[] = []
  #reading = false

  /** @param sql database that `read` uses */
  constructor(sql: Pick<SqlClient, 'isInTransaction'>, read: ReadMany<Key, Value>) {
    this.#sql = sql
    this.#read = read
  }

  /** Reads a value, never one older than the call. @throws `core.sql_own_transaction`; the error of reading this key alone */
  async get(key: Key): Promise<Value> {
    refuseOwnTransaction(this.#sql)
    return new Promise((resolve, reject) => {
      this.#asked.push({ key, resolve, reject })
      if (!this.#reading) void this.#detached(() => this.#run())
    })
  }

  async #run(): Promise<void> {
    this.#reading = true
    await Promise.resolve() // what is asked for in the same turn belongs to the first read
    while (this.#asked.length > 0) await this.#answer(this.#asked.splice(0, MAX_BATCH))
    this.#reading = false
  }

  async #answer(batch: readonly Asked<Key, Value>[]): Promise<void> {
    try {
      await this.#readAll(batch)
    } catch (error) {
      if (batch.length === 1) batch[0]?.reject(error)
      // An unreadable saga must not fail the others.
      else await retryIndividually(batch, (one) => this.#readAll([one]))
    }
  }

  async #readAll(batch: readonly Asked<Key, Value>[]): Promise<void> {
    const values = await this.#read(batch.map(({ key }) => key))
    for (const [index, { resolve }] of batch.entries()) resolve(values[index] as Value)
  }
}
