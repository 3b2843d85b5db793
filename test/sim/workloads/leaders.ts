/**
 * Three clerks, of which one leads: it writes numbered entries with its term. And a lock that all of them take in
 * between.
 */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import type { SqlClient } from 'concordat/core'
import { createElection, type Term } from 'concordat/election'
import { createFence, type Locks } from 'concordat/locks'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const TTL_MS = 2_000
const PAUSE_MS = 150
const WORK_MS = 400
const WAIT_MS = 60_000

async function startClerk(instance: SimulatedInstance, broken: string | undefined): Promise<void> {
  const sql = instance.sql('office')
  const locks = instance.locks()
  let first: number | undefined
  const write: Write = (to, token) => {
    first ??= token
    return writeEntry(to, broken === 'first-token' ? first : token, broken)
  }
  const election = createElection({
    locks,
    role: 'clerk',
    instance: `${instance.name}/${instance.generation}`,
    ttlMs: TTL_MS,
    logger: instance.logger,
    onGranted: (term) => lead(sql, instance, term, write),
  })
  election.start()
  void contend(sql, instance, locks, broken)
}

/** Writes as long as it relies on its term. */
async function lead(sql: SqlClient, instance: SimulatedInstance, term: Term, write: Write): Promise<void> {
  while (!term.signal.aborted) {
    await write(sql, term.token).catch((error: Error) => instance.note(`not written: ${error.message}`))
    await sleep(PAUSE_MS)
  }
}

/** Takes the lock again and again, works in it, and counts. */
async function contend(
  sql: SqlClient,
  instance: SimulatedInstance,
  locks: Locks,
  broken: string | undefined,
): Promise<void> {
  for (;;) {
    try {
      await locks.using('desk', { ttlMs: TTL_MS, waitMs: WAIT_MS }, async (lease) => {
        const n = await read(sql, lease.token, broken)
        lease.assertValid()
        await sleep(WORK_MS)
        await count(sql, n + 1, lease.token, broken)
      })
    } catch (error) {
      instance.note(`not counted: ${error instanceof Error ? error.message : String(error)}`)
    }
    await sleep(PAUSE_MS)
  }
}

type Write = (sql: SqlClient, token: number) => Promise<void>

async function writeEntry(sql: SqlClient, token: number, broken: string | undefined): Promise<void> {
  await sql.transaction(async (tx) => {
    if (broken !== 'no-fence') await createFence({ sql }).check(tx, 'entry', token)
    await tx.query('INSERT INTO entry (token) VALUES ($1)', [token])
  })
}

/** Registers the new holder at the fence before it reads: no earlier holder writes after that. */
function read(sql: SqlClient, token: number, broken: string | undefined): Promise<number> {
  return sql.transaction(async (tx) => {
    if (broken !== 'no-fence' && broken !== 'reads-unfenced') await createFence({ sql }).check(tx, 'desk', token)
    const { rows } = await tx.query<{ n: number }>('SELECT n FROM counter')
    return rows[0]?.n ?? 0
  })
}

async function count(sql: SqlClient, n: number, token: number, broken: string | undefined): Promise<void> {
  const fence = createFence({ sql })
  if (broken === 'fence-before') await sql.transaction((tx) => fence.check(tx, 'desk', token))
  await sql.transaction(async (tx) => {
    if (broken !== 'no-fence' && broken !== 'fence-before') await fence.check(tx, 'desk', token)
    await tx.query('UPDATE counter SET n = $1', [n])
    await tx.query('INSERT INTO counted (n, token) VALUES ($1, $2)', [n, token])
  })
}

const sleep = (durationMs: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, durationMs))

async function watch(world: SimulatedWorld): Promise<void> {
  await world.sleep(world.size * 2_000)
}

async function lastOf(sql: SqlClient, table: 'entry' | 'counted'): Promise<number> {
  const { rows } = await sql.query<{ seq: number }>(`SELECT coalesce(max(seq), 0)::int AS seq FROM ${table}`)
  return rows[0]?.seq ?? 0
}

/** After everything is fixed, a candidate leads and counts. */
async function requireProgress(world: SimulatedWorld): Promise<void> {
  const sql = world.client.sql('office')
  const before = [await lastOf(sql, 'entry'), await lastOf(sql, 'counted')]
  await world.sleep(30 * TTL_MS)
  const after = [await lastOf(sql, 'entry'), await lastOf(sql, 'counted')]
  for (const [index, what] of ['leads', 'counts'].entries()) {
    if ((after[index] ?? 0) <= (before[index] ?? 0)) throw new Error(`nobody ${what} within ${30 * TTL_MS} ms`)
  }
}

async function requireTokensInOrder({ client }: SimulatedWorld): Promise<void> {
  for (const table of ['entry', 'counted'] as const) {
    const { rows } = await client
      .sql('office')
      .query<{ token: string }>(`SELECT token::text AS token FROM ${table} ORDER BY seq`)
    const late = rows.findIndex(({ token }, index) => index > 0 && Number(token) < Number(rows[index - 1]?.token))
    if (late > 0) throw new Error(`${table}: token ${rows[late]?.token} was accepted after ${rows[late - 1]?.token}`)
  }
}

/** Requires that each holder read its predecessor's value. */
async function requireNoLostCount({ client }: SimulatedWorld): Promise<void> {
  const { rows } = await client.sql('office').query<{ n: number }>('SELECT n FROM counted ORDER BY seq')
  for (const [index, { n }] of rows.entries())
    if (n !== index + 1) throw new Error(`count ${n} in place of ${index + 1}`)
}

async function prepare(sql: SqlClient): Promise<void> {
  await createFence({ sql }).migrate()
  await sql.query('CREATE TABLE IF NOT EXISTS entry (seq bigserial PRIMARY KEY, token bigint NOT NULL)')
  await sql.query(
    'CREATE TABLE IF NOT EXISTS counted (seq bigserial PRIMARY KEY, n int NOT NULL, token bigint NOT NULL)',
  )
  await sql.query('CREATE TABLE IF NOT EXISTS counter (n int NOT NULL)')
  await sql.query('INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT FROM counter)')
}

export const leaders: Workload = {
  about: 'elections and a lock, each with fenced writes: tokens rise, and no count is lost',
  mistakes: {
    'no-fence': 'writes are not fenced',
    'fence-before': 'the fence is asked in a transaction before that of the write',
    'reads-unfenced': 'a holder reads without telling the fence of itself',
    'first-token': 'a leader goes on with the token of its first term',
  },
  databases: ['office'],
  size: 4,
  options: (setting: Setting) => ({
    services: { clerk: { instances: 3, start: (instance) => startClerk(instance, setting.broken) } },
    databases: { office: { ...databaseOf(setting, 'office'), prepare } },
    workload: watch,
    invariants: {
      'somebody leads': requireProgress,
      'tokens rise': requireTokensInOrder,
      'no count is lost': requireNoLostCount,
    },
  }),
}
