/** Work that an XA participant refuses to prepare, and servers on which it does not start, on a real server. */
import type { SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { drizzleTransaction } from 'concordat/core/orms'
import { pgClient, pgConnection, pgTransaction } from 'concordat/core/pg'
import { createFence, fencedUpdate } from 'concordat/locks'
import { createOutbox } from 'concordat/outbox'
import { postgresLocks } from 'concordat/postgres'
import { migrateParticipant } from 'concordat/saga'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Operation, XaHandler } from '../../support/inside/saga.ts'
import { describeWith, serverUrl, startServer } from '../../support/servers/index.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { FAST, type StockCommand, stockCommands } from '../support/world.ts'

/** Part of a statement of Drizzle. */
interface Chunk {
  readonly text?: string
  readonly value?: unknown
}

/** Sends a statement as Drizzle does; test/core/orms tests Drizzle itself. */
const DRIZZLE = {
  raw: (text: string): Chunk => ({ text }),
  param: (value: unknown): Chunk => ({ value }),
  join: (chunks: Chunk[]) => chunks,
}

function drizzleOver(client: { query(text: string, values: unknown[]): Promise<unknown> }) {
  return {
    execute(chunks: readonly Chunk[]) {
      const values = chunks.filter(({ text }) => text === undefined).map(({ value }) => value)
      let n = 0
      return client.query(chunks.map(({ text }) => text ?? `$${++n}`).join(''), values)
    },
    rollback: () => {
      throw new Error('not called')
    },
  } as never
}

describeWith(['postgres'], 'an XA participant', () => {
  const schema = `xa_refused_${process.pid}`
  let pool: pg.Pool
  let sql: SqlClient
  let ids = 0

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 4 })
    sql = pgClient(pool)
    await createOutbox({ sql, service: 'stock', schema }).migrate()
    await migrateParticipant(sql, schema)
    await sql.query(`CREATE TABLE ${schema}.effects (id text)`)
  })
  afterAll(async () => {
    await sql.query(`DROP SCHEMA ${schema} CASCADE`)
    await pool.end()
  })

  function bind(handler: XaHandler<StockCommand>): SinkBinding {
    const outbox = createOutbox({ sql, service: 'stock', schema })
    return xaParticipant(stockCommands, { group: 'stock', sql, outbox, schema, backoff: FAST, maxAttempts: 2 }, handler)
  }

  async function send(binding: SinkBinding, operation: Operation): Promise<string> {
    await deliver(binding, { sku: 'apple', n: 1 }, { ...commandHeaders(`s${ids}`, operation), 'saga-kind': 'tcc' })
    const { status, code } = (await takeReplies(sql, schema)).at(-1) ?? {}
    return [operation, status, code].filter((word) => word !== undefined).join(' ')
  }

  test.each(['SET LOCAL ROLE', 'SET ROLE'])(
    'prepares nothing that its handler leaves under another role: %s',
    async (set) => {
      ids++
      const role = `xa_${process.pid}`
      await sql.query(`CREATE ROLE ${role}`)
      onTestFinished(async () => void (await sql.query(`DROP ROLE ${role}`)))
      const binding = bind(async (_, { tx, sagaId }) => {
        await tx.query(`INSERT INTO ${schema}.effects VALUES ($1)`, [sagaId])
        await tx.query(`${set} ${role}`)
      })
      expect(await send(binding, 'invoke')).toBe('invoke failed saga.step_role')
      const { rows } = await sql.query(`SELECT gid FROM pg_prepared_xacts WHERE gid LIKE '%order/s${ids}/%'
      UNION ALL SELECT id FROM ${schema}.effects`)
      expect(rows).toEqual([])
      expect(await send(binding, 'compensate')).toBe('compensate ok')
    },
  )

  const WAYS = {
    'as it is': (tx: SqlTransaction) => tx,
    'by pgTransaction': (tx: SqlTransaction) => pgTransaction(pgConnection(tx)),
    'by Drizzle': (tx: SqlTransaction) => drizzleTransaction(drizzleOver(pgConnection(tx)), DRIZZLE),
  } as const
  const guarded = (['guard', 'fence', 'fencedUpdate'] as const).flatMap((what) =>
    (['as it is', 'by pgTransaction', 'by Drizzle'] as const).map((way) => ({ what, way })),
  )

  test.each(guarded)(
    'refuses to prepare a write that the token of a lock protects, which would be committed after the lock is lost: $what, $way',
    async ({ what, way }) => {
      ids++
      const fence = createFence({ sql, schema })
      const locks = postgresLocks({ sql, schema, owner: 'stock' })
      await Promise.all([fence.migrate(), locks.migrate()])
      onTestFinished(() => locks.close())
      const checks = {
        guard: (tx: SqlTransaction) => locks.guard(tx, { key: 'apple', token: 1 }),
        fence: (tx: SqlTransaction) => fence.check(tx, 'apple', 1),
        fencedUpdate: (tx: SqlTransaction) =>
          fencedUpdate(tx, { table: `${schema}.effects`, set: "id = ''", where: 'true', token: 1 }),
      }
      const binding = bind(async (_, { tx }) => void (await checks[what](WAYS[way](tx))))
      expect(await send(binding, 'invoke')).toBe('invoke failed core.sql_cannot_prepare')
      expect(await send(binding, 'compensate')).toBe('compensate ok')
    },
  )

  test('does not begin on a server that has prepared transactions switched off', async () => {
    const server = await startServer('postgres', { settings: { max_prepared_transactions: '0' } })
    const off = new pg.Pool({ connectionString: server.url, max: 2 })
    const client = pgClient(off)
    const outbox = createOutbox({ sql: client, service: 'stock', schema })
    await outbox.migrate()
    await migrateParticipant(client, schema)
    const binding = xaParticipant(stockCommands, { group: 'stock', sql: client, outbox, schema }, () => {})
    await expect(binding.ready?.()).rejects.toMatchObject({
      code: 'core.sql_cannot_prepare',
      message: expect.stringContaining('max_prepared_transactions'),
    })
    await off.end()
    await server.stop()
  })
})
