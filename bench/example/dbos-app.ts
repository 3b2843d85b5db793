/**
 * Common set-up of a DBOS process: the SDK, its settings, and a data source whose transactions hold the steps'
 * checkpoints.
 */
import type { DbosSdk } from '../dbos-sdk.ts'
import { loadPeer } from '../peers.ts'
import type { Query } from './statements.ts'

type Rows = readonly Readonly<Record<string, string>>[]

/** The part of `@dbos-inc/postgres-datasource` that the bench uses. */
interface Source {
  readonly PostgresDataSource: new (
    name: string,
    options: object,
    schema?: string,
  ) => {
    readonly client: {
      unsafe(text: string, parameters: readonly unknown[]): Promise<Rows & { readonly count: number }>
    }
    runTransaction<T>(work: () => Promise<T>, config: { readonly name: string }): Promise<T>
  }
}

export type AskedService = 'stock' | 'payments' | 'receipts'

/** Interval between polls of a queue and of a result. DBOS' own default is 1 s. */
export const POLL_MS = 100

/** Settings of a service that shares its server and database with others: DBOS' tables are in a schema of its own. */
export interface ServiceConfig {
  readonly systemDatabaseSchemaName: string
  readonly listenQueues: readonly string[]
}

export function serviceConfig(service: AskedService | 'orders'): ServiceConfig {
  return { systemDatabaseSchemaName: `dbos_${service}`, listenQueues: service === 'orders' ? [] : [service] }
}

export interface DbosAppOptions {
  /** Folder in which the DBOS packages are installed. */
  readonly folder: string
  /** The tables of the orders and DBOS' own lie in this one database. */
  readonly url: string
  /** Connections of each of the process' two pools. */
  readonly connections: string
  readonly name: string
  /** Beside what every application here has. */
  readonly config?: ServiceConfig | undefined
}

export interface DbosApp extends DbosSdk {
  /** Step that is a transaction: it commits with its checkpoint. */
  readonly transaction: <T>(name: string, work: (query: Query) => Promise<T>) => Promise<T>
}

/** Creates the app; the caller registers workflows and calls `DBOS.launch`. */
export function dbosApp({ folder, url, connections, name, config }: DbosAppOptions): DbosApp {
  const sdk = loadPeer<DbosSdk>(folder, '@dbos-inc/dbos-sdk')
  const { PostgresDataSource } = loadPeer<Source>(folder, '@dbos-inc/postgres-datasource')
  const { hostname, port, username, password, pathname } = new URL(url)
  const address = { host: hostname, port: Number(port), username, password, database: pathname.slice(1) }
  const source = new PostgresDataSource(
    name,
    { ...address, max: Number(connections), onnotice: () => {} },
    config?.systemDatabaseSchemaName,
  )
  const query: Query = async (text, parameters) => {
    const rows = await source.client.unsafe(text, parameters)
    return { rows, rowCount: rows.count }
  }
  sdk.DBOS.setConfig({
    name,
    systemDatabaseUrl: url,
    systemDatabasePoolSize: Number(connections),
    logLevel: 'error',
    runAdminServer: false,
    ...config,
  })
  return {
    DBOS: sdk.DBOS,
    DBOSClient: sdk.DBOSClient,
    transaction: (step, work) => source.runTransaction(() => work(query), { name: step }),
  }
}
