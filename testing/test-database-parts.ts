/** The parts of a service that bindings need: inbox, outbox and relay, on a database of the test. */
import type { Binder } from '../binder/binder.ts'
import { completeBinding, needsService } from '../binder/bindings/complete-declarations.ts'
import type { Binding } from '../binder/bindings/declarations.ts'
import type { Clock } from '../core/clock.ts'
import { hasCode } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { pgliteClient } from '../core/pglite/index.ts'
import { DEFAULT_SCHEMA, quoteIdentifier, type SqlClient } from '../core/sql.ts'
import { createInbox } from '../outbox/inbox.ts'
import { createOutbox, type Outbox } from '../outbox/outbox.ts'
import { createRelay, type Relay } from '../outbox/relay.ts'
import { migrateParticipant } from '../saga/store/tables.ts'
import type { Activity } from './activity.ts'

interface StoredFields {
  readonly bindings: readonly Binding[]
  /** @default a PGlite in memory, closed with the kit */
  readonly sql: SqlClient | undefined
  readonly service: string
  readonly clock: Clock
  readonly logger: Logger
  readonly activity: Activity
}

/** Adds the missing parts to bindings that need a service. `undefined` when none does. */
export async function storedParts(fields: StoredFields): Promise<StoredParts | undefined> {
  if (!fields.bindings.some(needsService)) return undefined
  const { sql, close } = fields.sql === undefined ? await openInMemory() : { sql: fields.sql, close: undefined }
  const parts = new StoredParts(fields, sql, close)
  await parts.migrate()
  return parts
}

/**
 * @throws Error naming the package when it is not installed
 */
async function openInMemory(): Promise<{ readonly sql: SqlClient; readonly close: () => Promise<void> }> {
  const { PGlite } = await import('@electric-sql/pglite').catch((error: unknown) => {
    if (!hasCode(error, 'ERR_MODULE_NOT_FOUND')) throw error
    const remedy = 'npm install --save-dev @electric-sql/pglite, or give it `sql`'
    throw new Error(`createTestKit needs a database for once: true and participants: ${remedy}`, { cause: error })
  })
  const database = await PGlite.create()
  return { sql: pgliteClient(database), close: () => database.close() }
}

export class StoredParts {
  readonly bindings: readonly Binding[]
  readonly #fields: StoredFields
  /** Not counted as activity of a handler. */
  readonly #sql: SqlClient
  readonly #close: (() => Promise<void>) | undefined
  readonly #outbox: Outbox
  readonly #inbox: ReturnType<typeof createInbox>
  #relay: Relay | undefined

  constructor(fields: StoredFields, sql: SqlClient, close: (() => Promise<void>) | undefined) {
    const { bindings, service, activity, clock, logger } = fields
    this.#fields = fields
    this.#sql = sql
    this.#close = close
    const watched = activity.watchSql(sql)
    this.#outbox = createOutbox({ sql: watched, service })
    this.#inbox = createInbox({ sql: watched, outbox: this.#outbox, clock, logger })
    const parts = {
      sql: watched,
      schema: DEFAULT_SCHEMA,
      inbox: this.#inbox,
      outbox: this.#outbox,
      telemetry: undefined,
    }
    this.bindings = bindings.map((binding) => completeBinding(binding, parts))
  }

  async migrate(): Promise<void> {
    await this.#outbox.migrate()
    await this.#inbox.migrate()
    await migrateParticipant(this.#sql, DEFAULT_SCHEMA)
  }

  /** Starts publishing what handlers send in their transactions. */
  start(publisher: Binder): void {
    const { clock, logger } = this.#fields
    this.#relay = createRelay({ outbox: this.#outbox, publisher, instance: 'test', clock, logger })
    void this.#relay.start()
  }

  /** True while the outbox has a message that the relay will send or try again. */
  async hasPending(): Promise<boolean> {
    const table = `${quoteIdentifier(DEFAULT_SCHEMA)}.outbox`
    const { rows } = await this.#sql.query(`SELECT FROM ${table} WHERE parked_at IS NULL LIMIT 1`)
    return rows.length > 0
  }

  async close(): Promise<void> {
    await this.#relay?.close()
    await this.#inbox.close()
    await this.#close?.()
  }
}
