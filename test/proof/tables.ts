/** Tables that the processes of a run write, and its judge counts. No unique key hides a doubling. */
import type { SqlClient } from 'concordat/core'
import { createFence } from 'concordat/locks'
import { createInbox, createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { CUSTOMERS, SQL_MS } from './settings.ts'
import { orderSaga } from './shop.ts'

/** Schema of the publishers' outbox, in the database of the shop. */
export const PUBLISHER_SCHEMA = 'publisher'
/** Schema of the receipts' inbox. */
export const RECEIPTS_SCHEMA = 'receipts'
/** Initial balance of every customer. */
export const FUNDS = 1_000_000_000

const EFFECT = `CREATE TABLE IF NOT EXISTS effect (number bigserial PRIMARY KEY, n bigint NOT NULL, step text NOT NULL,
  operation text NOT NULL, worker text NOT NULL)`
const EFFECT_N = 'CREATE INDEX IF NOT EXISTS effect_n ON effect (n)'
const DUPLICATE = `CREATE TABLE IF NOT EXISTS duplicate (number bigserial PRIMARY KEY, worker text NOT NULL, id text NOT NULL)`

const SHOP = [
  // A row for each order that a publisher began to send; accepted_at is written when the broker has confirmed it.
  `CREATE TABLE IF NOT EXISTS sent (n bigint PRIMARY KEY, publisher int NOT NULL, path text NOT NULL, tries int NOT NULL,
     accepted_at timestamptz)`,
  'CREATE INDEX IF NOT EXISTS sent_open ON sent (publisher, n) WHERE accepted_at IS NULL',
  'CREATE INDEX IF NOT EXISTS sent_last ON sent (publisher, n)',
  'CREATE TABLE IF NOT EXISTS handled (number bigserial PRIMARY KEY, n bigint NOT NULL, customer text NOT NULL, worker text NOT NULL)',
  'CREATE TABLE IF NOT EXISTS receipt (number bigserial PRIMARY KEY, n bigint NOT NULL, end_as text NOT NULL, worker text NOT NULL)',
  'CREATE INDEX IF NOT EXISTS receipt_n ON receipt (n)',
  'CREATE TABLE IF NOT EXISTS fenced (number bigserial PRIMARY KEY, token bigint NOT NULL, worker text NOT NULL)',
  EFFECT,
  DUPLICATE,
]

/** Opens a pool with time limits on every call: it gives up a frozen server. */
export function poolAt(connectionString: string, max: number, queryMs = SQL_MS): pg.Pool {
  const limits = { connectionTimeoutMillis: SQL_MS, query_timeout: queryMs, keepAlive: true }
  const pool = new pg.Pool({ connectionString, max, ...limits })
  pool.on('error', () => {})
  return pool
}

/** Idempotent: a resumed run calls it again. */
export async function createShop(sql: SqlClient): Promise<void> {
  for (const statement of SHOP) await sql.query(statement)
  await createOutbox({ sql, service: 'publisher', schema: PUBLISHER_SCHEMA }).migrate()
  const outbox = createOutbox({ sql, service: 'orders' })
  await outbox.migrate()
  await createInbox({ sql }).migrate()
  await createInbox({ sql, schema: RECEIPTS_SCHEMA }).migrate()
  await createFence({ sql }).migrate()
  await using desk = createCoordinator({ service: 'orders', sql, outbox, sagas: [orderSaga('desk', outbox)] })
  await desk.migrate()
}

export async function createParticipant(sql: SqlClient, role: 'payments' | 'stock'): Promise<void> {
  const [table, column] = role === 'payments' ? ['account', 'balance'] : ['shelf', 'units']
  await sql.query(EFFECT)
  await sql.query(EFFECT_N)
  await sql.query(`CREATE TABLE IF NOT EXISTS ${table} (id text PRIMARY KEY, ${column} bigint NOT NULL)`)
  await sql.query(`INSERT INTO ${table} SELECT 'c' || c, $1 FROM generate_series(0, $2) AS c ON CONFLICT DO NOTHING`, [
    FUNDS,
    CUSTOMERS - 1,
  ])
  await createOutbox({ sql, service: role }).migrate()
  await migrateParticipant(sql, 'concordat')
}
