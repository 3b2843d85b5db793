import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import type { Operation } from '../../support/inside/saga.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { FAST, stockCommands } from '../support/world.ts'

describeWith(['postgres'], 'a participant on a server, with deliveries at the same time', () => {
  const schema = `participant_it_${process.pid}`
  let pool: pg.Pool
  let sql: SqlClient

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 8 })
    sql = pgClient(pool)
    await createOutbox({ sql, service: 'stock', schema }).migrate()
    await migrateParticipant(sql, schema)
  })
  test('migrations of many coordinators and participants at once end in one set of tables', async () => {
    const many = `${schema}_many`
    const outbox = createOutbox({ sql, service: 'orders', schema: many })
    const saga = defineSaga('s', { version: 1, input: z.object({}) }).step('a', { invoke: () => 1, compensate: 'none' })
    const coordinators = Array.from({ length: 6 }, () =>
      createCoordinator({ service: 'orders', sql, outbox, schema: many, sagas: [saga] }),
    )
    await Promise.all([
      ...coordinators.map((coordinator) => coordinator.migrate()),
      ...Array.from({ length: 6 }, () => migrateParticipant(sql, many)),
      outbox.migrate(),
    ])
    const { rows } = await sql.query<{ part: string; versions: number[] }>(
      `SELECT part, array_agg(version ORDER BY version) AS versions FROM "${many}".concordat_migration GROUP BY part ORDER BY part`,
    )
    expect(rows.map(({ part }) => part)).toEqual(['outbox', 'saga', 'saga-participant'])
    for (const { part, versions } of rows) expect(versions, part).toEqual(versions.map((_, n) => n + 1))
    const first = coordinators[0] as (typeof coordinators)[number]
    await first.run()
    expect((await (await first.start(saga, { id: 'x', input: {} })).outcome()).status).toBe('completed')
    for (const coordinator of coordinators) await coordinator.close()
    await sql.query(`DROP SCHEMA "${many}" CASCADE`)
  })

  afterAll(async () => {
    await sql.query(`DROP SCHEMA ${schema} CASCADE`)
    await pool.end()
  })

  test.each(['tx', 'anywhere'] as const)(
    'with effects %s does and undoes each thing once, and nothing after it was undone',
    async (effects) => {
      const table = `${schema}.effects_${effects}`
      await sql.query(`CREATE TABLE ${table} (n bigserial, id text, what text)`)
      const write =
        (what: Operation) =>
        async (_: unknown, { tx, sagaId }: { tx: SqlClient | { query: SqlClient['query'] }; sagaId: string }) =>
          void (await tx.query(`INSERT INTO ${table} (id, what) VALUES ($1, $2)`, [sagaId, what]))
      const binding = participant(
        stockCommands,
        {
          group: 'stock',
          sql,
          outbox: createOutbox({ sql, service: 'stock', schema }),
          schema,
          backoff: FAST,
          effects,
        },
        { invoke: write('invoke'), compensate: write('compensate') },
      )
      const operations: Operation[] = ['invoke', 'compensate', 'invoke', 'compensate', 'invoke', 'invoke']
      for (let n = 0; n < 40; n++) {
        const order = operations.toSorted(() => Math.random() - 0.5)
        const send = (operation: Operation) =>
          deliver(binding, { sku: 'a', n: 1 }, commandHeaders(`${effects}-${n}`, operation))
        await Promise.all(order.map(send))
      }
      const { rows } = await sql.query<{ id: string; what: string }>(
        `SELECT id, string_agg(what, ',' ORDER BY n) AS what FROM ${table} GROUP BY id`,
      )
      // A call that began elsewhere may have had effects when the compensation comes, so it is undone, and not done
      // again.
      const allowed = effects === 'tx' ? ['invoke,compensate'] : ['invoke,compensate', 'compensate']
      for (const { id, what } of rows) expect(allowed, id).toContain(what)
      const replies = await takeReplies(sql, `"${schema}"`)
      expect(replies).toHaveLength(40 * operations.length)
      expect(replies.filter(({ operation, status }) => operation === 'compensate' && status !== 'ok')).toEqual([])
    },
  )
})
