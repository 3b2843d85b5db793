import type { SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { migrateParticipant, undo, undoParticipant, xaParticipant } from 'concordat/saga'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { fightForRow, hotMoves, move } from '../support/hot-row.ts'

type Bind = (concurrency: number) => SinkBinding

const KINDS: readonly (readonly [kind: string, bind: Bind])[] = [
  ['undo', (concurrency) => undoParticipant(hotMoves, { group: 'hot', concurrency }, move)],
  ['XA', (concurrency) => xaParticipant(hotMoves, { group: 'hot', concurrency }, move)],
]

describeWith(['postgres'], 'sagas that all want one row', () => {
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
    'by $kind: who has it is confirmed before those that wait (concurrency $concurrency)',
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
})
