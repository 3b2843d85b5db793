import { createHash } from 'node:crypto'
import type { SqlClient, SqlListener } from '../../../core/sql.ts'
import { SqlNotices } from '../../../core/sql-notices.ts'

/** A log by its name in the tables. */
export interface StoredLog {
  readonly cluster: string
  /** `members` or `state/<name>`. */
  readonly log: string
}

type Heard = (channel: string) => void

/** Stores of this process that share a `SqlClient` notify each other directly. */
const homes: WeakMap<SqlClient, Set<Heard>> = new WeakMap()

/** Notifies followers of news in a log: in this process at once, in others by `NOTIFY`, with a channel per log. */
export class LogWakes {
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #listener: SqlListener | undefined
  readonly #notices: SqlNotices
  readonly #stops = new Map<string, () => void>()
  readonly #onWake: () => void
  readonly #heard: Heard

  constructor(sql: SqlClient, schema: string, listener: SqlListener | undefined, onWake: () => void) {
    this.#sql = sql
    this.#schema = schema
    this.#listener = listener
    this.#notices = new SqlNotices(sql)
    this.#onWake = onWake
    this.#heard = (channel) => {
      if (this.#stops.has(channel)) onWake()
    }
    const home = homes.get(sql) ?? new Set()
    homes.set(sql, home.add(this.#heard))
  }

  /** Starts to listen for news of this log. */
  listen(log: StoredLog): void {
    const channel = this.#channelOf(log)
    if (this.#stops.has(channel)) return
    this.#stops.set(channel, this.#listener?.listen(channel, this.#onWake) ?? (() => {}))
  }

  tell(logs: Iterable<StoredLog>): void {
    for (const log of logs) {
      const channel = this.#channelOf(log)
      for (const heard of homes.get(this.#sql) ?? []) heard(channel)
      if (this.#sql.exclusive === undefined) this.#notices.send(channel, 'new')
    }
  }

  close(): void {
    homes.get(this.#sql)?.delete(this.#heard)
    for (const stop of this.#stops.values()) stop()
    this.#stops.clear()
    this.#notices.close()
  }

  /** Names may exceed the length limit of a channel. */
  #channelOf({ cluster, log }: StoredLog): string {
    const name = JSON.stringify([this.#schema, cluster, log])
    return `concordat_cluster_${createHash('sha256').update(name).digest('hex').slice(0, 32)}`
  }
}
