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

/** Settings that a team may have changed for its database. Nothing that Concordat reads or writes may depend on them. */
const SETTINGS: Readonly<Record<string, string>> = {
  DateStyle: "'German, DMY'",
  IntervalStyle: 'iso_8601',
  TimeZone: "'Asia/Kathmandu'",
  bytea_output: 'escape',
  transform_null_equals: 'on',
}

/** Timestamps as texts, 64-bit integers as BigInt, decimals as numbers: parsers that many applications have. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') => {
    if (oid === pg.types.builtins.INT8) return BigInt
    if (oid === pg.types.builtins.NUMERIC) return Number
    if ([1082, 1114, 1184].includes(oid)) return (text: string): string => text
    return pg.types.getTypeParser(oid, format as never) as never
  },
}

/** A database of its own on the shared server, with settings and parsers of its own. */
export function createDatabase(max = 10): Promise<TestDatabase> {
  return databaseWith(SETTINGS, { max, types: TYPES })
}

/** A database of its own on the shared server, with the defaults of the server and the driver. */
export function createPlainDatabase(): Promise<TestDatabase> {
  return databaseWith({}, { max: 10 })
}

async function databaseWith(settings: Readonly<Record<string, string>>, options: pg.PoolConfig): Promise<TestDatabase> {
  const admin = serverUrl('postgres') as string
  const name = uniqueName('t_outbox')
  await once(admin, `CREATE DATABASE ${name}`)
  const set = Object.entries(settings).map(([setting, value]) => `ALTER DATABASE ${name} SET ${setting} = ${value}`)
  await once(admin, set.join('; '))
  const url = new URL(admin)
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href, ...options })
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
