import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, type Operation, participant } from 'concordat/saga'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { commandHeaders, deliver, takeReplies } from './support/delivery.ts'
import { FAST, stockCommands } from './support/world.ts'

describeWith(['postgres'], 'a participant on a server, with deliveries at the same time', () => {
  const schema = `participant_it_${process.pid}`
  let pool: pg.Pool
  let sql: SqlClient

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 8 })
    sql = pgClient(pool)
    await createOutbox({ sql, service: 'stock', schema }).migrate()
    await migrateParticipant(sql, schema)
    await sql.query(`CREATE TABLE ${schema}.effects (id text, what text)`)
  })
  afterAll(async () => {
    await sql.query(`DROP SCHEMA ${schema} CASCADE`)
    await pool.end()
  })

  test('does and undoes each thing once, and nothing after it was undone', async () => {
    const write =
      (what: Operation) =>
      async (_: unknown, { tx, sagaId }: { tx: SqlClient | { query: SqlClient['query'] }; sagaId: string }) =>
        void (await tx.query(`INSERT INTO ${schema}.effects VALUES ($1, $2)`, [sagaId, what]))
    const binding = participant(
      stockCommands,
      { group: 'stock', sql, outbox: createOutbox({ sql, service: 'stock', schema }), schema, backoff: FAST },
      { invoke: write('invoke'), compensate: write('compensate') },
    )
    const operations: Operation[] = ['invoke', 'compensate', 'invoke', 'compensate', 'invoke', 'invoke']
    for (let n = 0; n < 40; n++) {
      const order = operations.toSorted(() => Math.random() - 0.5)
      const send = (operation: Operation) => deliver(binding, { sku: 'a', n: 1 }, commandHeaders(`c${n}`, operation))
      await Promise.all(order.map(send))
    }
    const { rows } = await sql.query<{ id: string; what: string }>(
      `SELECT id, string_agg(what, ',' ORDER BY what DESC) AS what FROM ${schema}.effects GROUP BY id`,
    )
    for (const { id, what } of rows) expect(what, id).toBe('invoke,compensate')
    const replies = await takeReplies(sql, `"${schema}"`)
    expect(replies).toHaveLength(40 * operations.length)
    expect(replies.filter(({ operation, status }) => operation === 'compensate' && status !== 'ok')).toEqual([])
  })
})
