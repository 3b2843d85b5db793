import { migrate, requireMigrated } from '../../core/migrate.ts'
import { refuseOwnTransaction } from '../../core/sql.ts'
import { TransportError } from '../errors.ts'
import { CLOSED_TRANSPORT } from '../transport/kit/transport-error-factory.ts'
import type { DestinationSpec } from '../transport/transport.ts'
import type { LogContext } from './context.ts'
import type { ResolvedPostgresOptions } from './options.ts'
import { requireSameDatabase } from './require-same-database.ts'
import { StatementRunner } from './statement-runner.ts'
import { TRANSPORT_PART } from './tables.ts'
import { failure, isWithoutTables, toTransportError } from './transport-errors.ts'

export async function migrateLog({ sql, schema }: ResolvedPostgresOptions): Promise<void> {
  await migrate(sql, schema, TRANSPORT_PART.name, TRANSPORT_PART.migrations)
}

/** Creates or checks the tables and the destinations, according to the option `provision`. */
export class Provisioning {
  readonly #context: LogContext
  #migrated: Promise<void> | undefined
  #isOneDatabase = false
  #isClosed = false

  constructor(context: LogContext) {
    this.#context = context
  }

  /** Closes: running calls reject with `closed`. */
  close(): void {
    this.#isClosed = true
  }

  /** @throws TransportError */
  async run(destinations: readonly DestinationSpec[]): Promise<void> {
    const { sql } = this.#context.options
    // Later callers wait for the same tables.
    refuseOwnTransaction(sql)
    try {
      await this.#provision(destinations)
    } catch (error) {
      if (this.#migrated === undefined || !isWithoutTables(error)) throw error
      // The previous tables were dropped.
      this.#migrated = undefined
      await this.#provision(destinations)
    }
  }

  async #provision(destinations: readonly DestinationSpec[]): Promise<void> {
    const { provision } = this.#context.options
    await this.#withTables()
    await this.#ofThisCluster()
    await this.#withTransactions()
    if (provision === 'create') for (const spec of destinations) await this.#open.directory.create(spec)
    if (provision === 'check') await this.#check(destinations)
  }

  async #check(destinations: readonly DestinationSpec[]): Promise<void> {
    const { directory } = this.#open
    const problems: string[] = []
    for (const spec of destinations) problems.push(...(await directory.check(spec)))
    if (problems.length > 0)
      throw failure(
        'mismatch',
        `${problems.join('; ')}. Start once with provision: 'create', or align the declarations.`,
      )
  }

  /** @throws TransportError */
  async #withTables(): Promise<void> {
    const { provision, sql, schema } = this.#context.options
    if (provision === 'none') return
    this.#migrated ??=
      provision === 'create' ? migrateLog(this.#context.options) : requireMigrated(sql, schema, TRANSPORT_PART)
    try {
      await this.#migrated
    } catch (error) {
      this.#migrated = undefined
      throw toTransportError('make the tables', error, schema)
    }
  }

  /** @throws TransportError */
  async #ofThisCluster(): Promise<void> {
    try {
      await this.#open.directory.requireOfThisCluster()
    } catch (error) {
      // With `none` the log may be unreachable, or created later: the directory checks again at the first use.
      const isThere = error instanceof TransportError && error.kind === 'mismatch' && !isWithoutTables(error)
      if (this.#context.options.provision !== 'none' || isThere || this.#isClosed) throw error
    }
  }

  /** @throws TransportError */
  async #withTransactions(): Promise<void> {
    const { sql, transactionsOf, schema, requestTimeoutMs } = this.#context.options
    if (this.#isOneDatabase || transactionsOf === sql) return
    const { database, tables, host } = this.#open
    const transactions = new StatementRunner(transactionsOf, schema, host.clock, requestTimeoutMs)
    await requireSameDatabase(database, transactions, tables)
    this.#isOneDatabase = true
  }

  get #open(): LogContext {
    if (this.#isClosed) throw failure('closed', CLOSED_TRANSPORT)
    return this.#context
  }
}
