import { randomId } from '../../core/random-id.ts'
import type { SqlClient } from '../../core/sql.ts'

/** Receives turns. @returns whether it could use the turn */
export type Told = (value: string, token: number | undefined) => void

/**
 * All stores of this process that share a `SqlClient`: they notify each other directly, without the server. A lock that the
 * server grants within this process goes to a process that is certainly alive, because it sent the request.
 */
export class LocalWakeups {
  /** Prefix of the names of all its clients. */
  readonly id: string
  readonly #members = new Map<string, Told>()
  readonly #adopted = new Set<string>()
  readonly #adopting = new Map<string, Promise<unknown>>()
  #joined = 0

  constructor(id: string) {
    this.id = id
  }

  /** @returns the name of the client, and a function that removes it */
  join(told: Told): { readonly client: string; readonly leave: () => void } {
    const client = `${this.id}/${++this.#joined}`
    this.#members.set(client, told)
    return { client, leave: () => void this.#members.delete(client) }
  }

  /** Runs `adopt` once for each schema, before anything else in it; again if it failed. `undefined`: it is done. */
  adopted(schema: string, adopt: () => Promise<unknown>): Promise<unknown> | undefined {
    if (this.#adopted.has(schema)) return undefined
    const known = this.#adopting.get(schema)
    if (known !== undefined) return known
    const adopting = adopt()
      .then(() => this.#adopted.add(schema))
      .finally(() => this.#adopting.delete(schema))
    this.#adopting.set(schema, adopting)
    return adopting
  }

  /** @returns false if the client is not here */
  tell(client: string, value: string, token: number | undefined): boolean {
    const told = this.#members.get(client)
    told?.(value, token)
    return told !== undefined
  }
}

const homes: WeakMap<SqlClient, LocalWakeups> = new WeakMap()

export function homeOf(sql: SqlClient): LocalWakeups {
  const known = homes.get(sql)
  if (known !== undefined) return known
  const home = new LocalWakeups(sql.exclusive ?? randomId())
  homes.set(sql, home)
  return home
}
