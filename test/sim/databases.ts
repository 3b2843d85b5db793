import { PGlite } from '@electric-sql/pglite'
import { begunFromCopy } from '../support/pglite-copy.ts'
import type { Workload } from './workload.ts'

/** PGlites for each database of each workload, opened on first use. */
export class Databases {
  readonly #open = new Map<string, PGlite>()

  async of(name: string, { databases }: Workload): Promise<ReadonlyMap<string, PGlite>> {
    const own = new Map<string, PGlite>()
    for (const each of databases) own.set(each, await this.#one(`${name}/${each}`))
    return own
  }

  async close(): Promise<void> {
    for (const database of this.#open.values()) await database.close()
  }

  async #one(name: string): Promise<PGlite> {
    let database = this.#open.get(name)
    if (database === undefined) {
      database = await PGlite.create(begunFromCopy({}))
      this.#open.set(name, database)
    }
    return database
  }
}
