import type { SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { commandHeaders, deliver } from '../support/delivery.ts'
import { fightForRow, hotMoves, move } from '../support/hot-row.ts'

type Bind = (concurrency: number) => SinkBinding

const KINDS: readonly (readonly [kind: string, bind: Bind])[] = [
  ['undo', (concurrency) => undoParticipant(hotMoves, { group: 'hot', concurrency }, move)],
  ['XA', (concurrency) => xaParticipant(hotMoves, { group: 'hot', concurrency }, move)],
]

describeWith(['postgres'], 'sagas that contend for one row', () => {
  let pool: pg.Pool
  let sql: SqlClient
  let schema = ''
  let count = 0

  beforeAll(() => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 12 })
    sql = pgClient(pool)
  })
  afterAll(async () => {
    for (let n = 1; n <= count; n++) await pool.query(`DROP SCHEMA hot_it_${process.pid}_${n} CASCADE`)
    await pool.query('DROP TABLE IF EXISTS hot')
    await pool.end()
  })

  const cases = KINDS.flatMap(([kind, bind]) => [1, 2, 8].map((concurrency) => ({ kind, bind, concurrency })))

  test.each(cases)(
    'by $kind: the holder is confirmed before those that wait (concurrency $concurrency)',
    {
      timeout: 60_000,
    },
    async ({ kind, bind, concurrency }) => {
      schema = `hot_it_${process.pid}_${++count}`
      await pool.query('DROP TABLE IF EXISTS hot')
      await pool.query('CREATE TABLE hot (id text PRIMARY KEY, n int NOT NULL)')
      await migrateParticipant(sql, schema)
      if (kind === 'undo') await undo.protect(sql, ['hot'], { schema })
      const participant = bind(concurrency)
      expect(await fightForRow({ sql, schema, sagas: 16, participant })).toEqual({ ends: ['completed'], total: 16 })
    },
  )

  test('participants of one SqlClient do not wait for rows on all of its connections', async () => {
    schema = `hot_it_${process.pid}_${++count}`
    await pool.query('CREATE TABLE IF NOT EXISTS hot (id text PRIMARY KEY, n int NOT NULL)')
    await pool.query(`INSERT INTO hot VALUES ('h', 0) ON CONFLICT DO NOTHING`)
    await createOutbox({ sql, service: 'hot', schema }).migrate()
    await migrateParticipant(sql, schema)
    const few = new pg.Pool({ connectionString: serverUrl('postgres'), max: 4, application_name: schema })
    const own = pgClient(few)
    const outbox = createOutbox({ sql: own, service: 'hot', schema })
    const side = { group: 'hot', sql: own, outbox, schema, concurrency: 4, lockTimeoutMs: 3_000, maxAttempts: 1 }
    const [a, b] = [xaParticipant(hotMoves, side, move), xaParticipant(hotMoves, side, move)]
    let ids = 0
    const ask = (binding: SinkBinding): Promise<void> => {
      const headers = { ...commandHeaders(`${schema}-${++ids}`, 'invoke'), 'saga-kind': 'tcc' }
      return deliver(binding, { by: 1 }, headers, 1).catch(() => {})
    }
    const rival = await pool.connect()
    await rival.query(`BEGIN; UPDATE hot SET n = n WHERE id = 'h'`)
    const waiting = Promise.all([ask(a), ask(a)])
    let tookMs = 0
    const locked = `SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`
    try {
      await until('two wait', async () => (await pool.query(locked, [schema])).rowCount === 2)
      const beganAt = performance.now()
      await Promise.all([ask(b), ask(b)])
      tookMs = performance.now() - beganAt
    } finally {
      await rival.query('ROLLBACK')
      rival.release()
    }
    await waiting
    for (const { gid } of (await pool.query('SELECT gid FROM pg_prepared_xacts WHERE gid LIKE $1', [`%${schema}%`]))
      .rows)
      await pool.query(`ROLLBACK PREPARED '${gid}'`)
    await few.end()
    // The calls did not wait for the row.
    await expectWithin(tookMs, 2_500)
  })
})
