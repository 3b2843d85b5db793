import { createBinder, defineChannel, processor, type SinkBinding, sink } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox } from 'concordat/outbox'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { describeWith } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'

const MESSAGES = 2_000
const moved = defineChannel('stock.moved', { payload: z.object({ row: z.number() }), key: ({ row }) => String(row) })
const told = defineChannel('stock.told', { payload: z.object({ row: z.number() }) })

describeWith(['postgres'], 'handlers of one statement, with an inbox', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await database.sql.query('CREATE TABLE shelf (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)')
    await database.sql.query(`INSERT INTO shelf SELECT generate_series(0, 499)`)
  })
  afterAll(() => database.drop())

  it.for(['sink', 'processor'])('share their round trips after the first thousand (%s)', async (kind) => {
    await database.sql.query('UPDATE shelf SET n = 0')
    const pool = new pg.Pool({ connectionString: database.url, max: 4 })
    onTestFinished(() => pool.end())
    let answers = 0
    pool.on('connect', (client) => {
      const { connection } = client as unknown as { connection: NodeJS.EventEmitter }
      connection.on('readyForQuery', () => answers++)
    })
    const sql = pgClient(pool)
    const outbox = createOutbox({ sql, service: 'stock', schema: kind })
    const inbox = createInbox({ sql, schema: kind, outbox })
    await outbox.migrate()
    await inbox.migrate()
    let left = 0
    let all = Promise.withResolvers<void>()
    const move = async (row: number, tx: Parameters<Parameters<typeof sql.transaction>[0]>[0]): Promise<void> => {
      await tx.query('UPDATE shelf SET n = n + $2 WHERE id = $1', [row, 1])
      if (--left === 0) all.resolve()
    }
    const options = { group: kind, concurrency: 64, inbox } as const
    const binding =
      kind === 'sink'
        ? sink(moved, options, ({ row }, { tx }) => move(row, tx))
        : processor(moved, told, options, async ({ row }, { tx }) => {
            await move(row, tx)
            return { row }
          })
    await using binder = createBinder({
      service: 'stock',
      transport: memoryTransport(),
      bindings: [binding as SinkBinding],
      sends: [moved],
    })
    await binder.start()
    const shelved = async (): Promise<number | undefined> =>
      (await database.sql.query<{ n: number }>('SELECT sum(n)::int AS n FROM shelf')).rows[0]?.n
    const handled = async (): Promise<number> => {
      const before = answers
      const sum = MESSAGES + ((await shelved()) ?? 0)
      left = MESSAGES
      all = Promise.withResolvers<void>()
      await binder.sendBatch(
        moved,
        Array.from({ length: MESSAGES }, (_, i) => ({ row: i % 500 })),
      )
      await all.promise
      // On a machine that stalls, a repeated call ends the wait before the last effect exists.
      await until('every effect is there', async () => (await shelved()) === sum)
      return (answers - before) / MESSAGES
    }
    // At first there is a round trip for each statement and its savepoints.
    expect(await handled()).toBeGreaterThan(0.5)
    // Only the round trips of limits, ids, outputs and the commit remain, for twenty and more at a time. A machine that
    // stalls pays them alone for a while.
    let rounds = 1
    for (let each = 1; each > 0.5; rounds++) {
      expect(rounds).toBeLessThan(20)
      each = await handled()
    }
    await binder.close()
    expect(await shelved()).toBe(MESSAGES * rounds)
    const sent = await database.sql.query(`SELECT count(*)::int AS n FROM "${kind}".outbox`)
    expect(sent.rows).toEqual([{ n: kind === 'sink' ? 0 : MESSAGES * rounds }])
  })
})
