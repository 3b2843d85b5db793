import { newId } from '../core/ids.ts'
import { pgliteClient } from '../core/pglite/pglite-client.ts'
import type { SqlClient } from '../core/sql.ts'
import type { OpenDatabase } from './data-directory.ts'

interface Opened {
  readonly inner: SqlClient
  readonly close: () => Promise<void>
}

/** A client whose database is opened by its first statement, and again by the first one after `close`. */
export class LazyDatabase {
  readonly sql: SqlClient
  readonly #open: () => Promise<OpenDatabase>
  #opened: Promise<Opened> | undefined
  #inner: SqlClient | undefined

  constructor(inMemory: boolean, open: () => Promise<OpenDatabase>) {
    this.#open = open
    this.sql = {
      exclusive: newId(),
      inMemory,
      isInTransaction: () => this.#inner?.isInTransaction?.() === true,
      query: async (text, parameters) => (await this.#get()).query(text, parameters),
      transaction: async (work) => (await this.#get()).transaction(work),
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    this.#inner = undefined
    // A database that failed to open needs no close: its statements reject with the reason.
    await (await opened?.catch(() => undefined))?.close()
  }

  async #get(): Promise<SqlClient> {
    const opened = (this.#opened ??= this.#begin())
    try {
      return (await opened).inner
    } catch (error) {
      // Another one may be opening by now.
      if (this.#opened === opened) this.#opened = undefined
      throw error
    }
  }

  async #begin(): Promise<Opened> {
    const { database, close } = await this.#open()
    this.#inner = pgliteClient(database)
    return { inner: this.#inner, close }
  }
}
