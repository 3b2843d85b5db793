/** Stores given to the operator, otherwise those in the database itself. */

import type { Logger, SqlClient } from 'concordat/core'
import { DEFAULT_SCHEMA, type Transport } from 'concordat/extension'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import type { OperatedCluster } from './cluster-admin.ts'
import { listed, schemasWith } from './find-table-schemas.ts'
import { logSchemaOf } from './group-lag.ts'
import type { OpenTransport } from './letters.ts'
import type { OperatedLocks } from './lock-admin.ts'
import { OperatorStoreMissing, OperatorTransportMissing } from './operator-errors.ts'

/** Dead letters are sent again in any size that a service may have sent; a broker with a lower limit refuses them. */
export const MAX_LETTER_BYTES: number = 128 * 1024 * 1024

export interface StoresOptions {
  readonly sql: SqlClient
  readonly schema: string
  readonly transport: OpenTransport | undefined
  readonly locks: OperatedLocks | undefined
  readonly cluster: OperatedCluster | undefined
  readonly logger: Logger
}

/** Stores in the database connect for single statements only, so there is nothing to close. */
export class Stores {
  readonly #options: StoresOptions
  #locks: OperatedLocks | undefined
  #cluster: OperatedCluster | undefined

  constructor(options: StoresOptions) {
    this.#options = options
    this.#locks = options.locks
    this.#cluster = options.cluster
  }

  /** A new transport at each call. @throws OperatorTransportMissing */
  async transport(): Promise<Transport> {
    const { sql, schema, transport } = this.#options
    if (transport !== undefined) return transport()
    const log = await logSchemaOf(sql, schema)
    if (log !== undefined)
      return postgresTransport({ sql, schema: log, provision: 'check', maxMessageBytes: MAX_LETTER_BYTES })
    const logs = await schemasWith(sql, 'transport_group')
    const where =
      logs.length === 0
        ? 'nor one other schema has a log'
        : `nor "${DEFAULT_SCHEMA}" has a log that this role may read, ${said(logs)}`
    throw new OperatorTransportMissing(
      `no transport: neither the schema "${schema}" ${where}, so give createOperator \`transport\``,
    )
  }

  /** @throws OperatorStoreMissing */
  async locks(): Promise<OperatedLocks> {
    const { sql, schema, logger } = this.#options
    if (this.#locks === undefined) {
      await this.#require('lock_key', 'locks')
      this.#locks = postgresLocks({ sql, schema, owner: 'operator', logger })
    }
    return this.#locks
  }

  /** @throws OperatorStoreMissing */
  async cluster(): Promise<OperatedCluster> {
    const { sql, schema, logger } = this.#options
    if (this.#cluster === undefined) {
      await this.#require('cluster_member', 'cluster')
      this.#cluster = postgresStateStore({ sql, schema, logger })
    }
    return this.#cluster
  }

  async #require(table: string, option: string): Promise<void> {
    const { sql, schema } = this.#options
    const schemas = await schemasWith(sql, table)
    if (schemas.includes(schema)) return
    const where = schemas.length === 0 ? '' : `, ${said(schemas)}`
    throw new OperatorStoreMissing(
      `no ${option}: the schema "${schema}" has no tables of them${where}, so give createOperator \`${option}\``,
    )
  }
}

const said = (schemas: readonly string[]): string =>
  `${listed(schemas.map((name) => `"${name}"`))} ${schemas.length === 1 ? 'has' : 'have'}`
