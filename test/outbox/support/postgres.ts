import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { serverUrl } from '../../support/servers/index.ts'
import { uniqueName } from './messages.ts'

export interface TestDatabase {
  readonly url: string
  readonly pool: pg.Pool
  readonly sql: SqlClient
  drop(): Promise<void>
}

/** A database of its own on the shared server. */
export async function createDatabase(max = 10): Promise<TestDatabase> {
  const admin = serverUrl('postgres') as string
  const name = uniqueName('t_outbox')
  await once(admin, `CREATE DATABASE ${name}`)
  const url = new URL(admin)
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href, max })
  return {
    url: url.href,
    pool,
    sql: pgClient(pool),
    async drop() {
      await pool.end()
      await once(admin, `DROP DATABASE ${name} WITH (FORCE)`)
    },
  }
}

async function once(connectionString: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
