/** The two databases of a side, with its accounts. */
import pg from 'pg'
import type { PostgresBed } from '../postgres-bed.ts'

/** Connections of a side to each of its two databases. */
export const CONNECTIONS = 20
/** Accounts per bank: enough that two transfers seldom meet in one. */
export const ACCOUNTS = 20_000

export interface Banks {
  readonly north: string
  readonly south: string
}

/** Makes them. */
export async function banksOf(postgres: PostgresBed, name: string): Promise<Banks> {
  const [north, south] = [await postgres.database(`${name}_north`), await postgres.database(`${name}_south`)]
  for (const connectionString of [north, south]) {
    const client = new pg.Client({ connectionString })
    await client.connect()
    await client.query('CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL, free int NOT NULL)')
    await client.query(
      `INSERT INTO account SELECT 'a-' || n, 1000000, 1000000 FROM generate_series(0, ${ACCOUNTS - 1}) n`,
    )
    await client.query('VACUUM ANALYZE account')
    await client.end()
  }
  return { north, south }
}
