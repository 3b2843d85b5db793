/** A test's database on MariaDB, and the prepared transactions of its server. */
import { setTimeout as pause } from 'node:timers/promises'
import { type MysqlXaResource, mysqlResource } from '@concordat/mysql'
import mysql from 'mysql2/promise'

export interface MariaDatabase {
  readonly pool: mysql.Pool
  readonly url: string
  readonly resource: MysqlXaResource
  rows<Row>(text: string, values?: readonly (string | number)[]): Promise<readonly Row[]>
  /** The names of the prepared transactions of the server that hold this text. */
  prepared(text?: string): Promise<readonly string[]>
  /** Ends them by hand. */
  endByHand(verb: 'COMMIT' | 'ROLLBACK', text: string): Promise<void>
  /** Number of transactions in the engine that are open or prepared; with a state, those in it. */
  transactions(state?: 'LOCK WAIT'): Promise<number>
  end(): Promise<void>
}

/** Makes the database, with our table. */
export async function openMaria(serverUrl: string, name: string): Promise<MariaDatabase> {
  const admin = await mysql.createConnection({ uri: serverUrl })
  await admin.query(`CREATE DATABASE ${name}`)
  await admin.end()
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  const maria = attachMaria(url.href)
  await maria.resource.migrate()
  return maria
}

export function attachMaria(url: string, connectionLimit = 8): MariaDatabase {
  const pool = mysql.createPool({ uri: url, gracefulEnd: true, connectionLimit })
  const rows = async <Row>(text: string, values: readonly (string | number)[] = []): Promise<readonly Row[]> =>
    (await pool.query(text, [...values]))[0] as Row[]
  const prepared = async (text = ''): Promise<readonly string[]> =>
    (await rows<{ data: Uint8Array }>('XA RECOVER'))
      .map(({ data }) => Buffer.from(data).toString())
      .filter((gid) => gid.includes(text))
  return {
    pool,
    url,
    resource: mysqlResource(pool),
    rows,
    prepared,
    endByHand: async (verb, text) => {
      for (const gid of await prepared(text)) await pool.query(`XA ${verb} '${gid.slice(0, 64)}','${gid.slice(64)}'`)
    },
    transactions: async (state) => {
      // The server renews this list only when it has not been read for a tenth of a second.
      await pause(150)
      const all = await rows<{ state: string }>('SELECT trx_state AS state FROM information_schema.innodb_trx')
      return all.filter((one) => state === undefined || one.state === state).length
    },
    end: () => pool.end(),
  }
}
