import { systemClock } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { defineSaga } from 'concordat/saga'
import pg from 'pg'
import { it } from 'vitest'
import { z } from 'zod'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { xidOf } from '../../support/sharing.ts'
import { setupWorld, stockCommands } from '../support/world.ts'

const clock = { ...systemClock, monotonic: () => performance.now() / 20 }
const IDS = Array.from('abcdefghij')
const note = { by: 'ann', reason: 'the customer called' }

describeWith(['postgres'], 'transactional steps that share a transaction', () => {
  it('keep the others when one of their sagas is cancelled in between', async ({ expect, onTestFinished }) => {
    const pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 10 })
    const xids = new Map<string, string[]>()
    let isCancelled = false
    const buy = defineSaga('buy', { version: 1, input: z.object({}) })
      .step('note', {
        transactional: true,
        invoke: async ({ sagaId, tx }) => {
          xids.set(sagaId, [...(xids.get(sagaId) ?? []), await xidOf(tx)])
          await tx.query(`INSERT INTO ${table} VALUES ($1, 'done')`, [sagaId])
          if (sagaId !== 'e' || isCancelled) return
          isCancelled = true
          await coordinator.cancel({ saga: 'buy', id: 'e' }, note)
        },
        compensate: async ({ sagaId, tx }) =>
          void (await tx.query(`INSERT INTO ${table} VALUES ($1, 'undone')`, [sagaId])),
      })
      // Commands sent when sagas advance are written last, and are sent with the commit.
      .command('take', { to: stockCommands, request: () => ({ sku: 'apple', n: 1 }), compensate: true })
    const world = await setupWorld({
      sagas: [buy],
      sql: pgClient(pool),
      // A single transaction at a time: all sagas that wait for it share the next one.
      coordinator: { clock, transactions: 1 },
    })
    const { coordinator, sql, schema, stockSchema } = world
    onTestFinished(async () => {
      await world.close()
      await pool.query(`DROP SCHEMA ${schema} CASCADE; DROP SCHEMA ${stockSchema} CASCADE`)
      await pool.end()
    })
    const table = `${schema}.effect`
    await sql.query(`CREATE TABLE ${table} (id text, what text)`)
    await world.start()
    await (await coordinator.start(buy, { id: 'first', input: {} })).outcome()
    const runs = await sql.transaction((tx) =>
      Promise.all(IDS.map((id) => coordinator.start(tx, buy, { id, input: {} }))),
    )
    const ends = await Promise.all(runs.map((run) => run.outcome({ timeoutMs: 60_000 })))
    expect(ends.map(({ status }) => status)).toEqual(IDS.map((id) => (id === 'e' ? 'compensated' : 'completed')))
    const { rows } = await sql.query<{ line: string }>(
      `SELECT id || ' ' || what AS line FROM ${table} WHERE id <> 'first' ORDER BY 1`,
    )
    expect(rows.map(({ line }) => line)).toEqual(
      IDS.flatMap((id) => (id === 'e' ? ['e done', 'e undone'] : [`${id} done`])),
    )
    const firstOfE = xids.get('e')?.[0]
    expect(IDS.filter((id) => xids.get(id)?.[0] === firstOfE).length).toBeGreaterThan(1)
  })
})
