import { createBinder, defineChannel, sink } from 'concordat/binder'
import { postgresTransport } from 'concordat/binder/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

const numbers = defineChannel('numbers', { payload: z.object({ n: z.number() }), partitions: 2, groups: ['g'] })

it('a log that was made with eight segments loses the empty ones but the first four, and no message', async () => {
  const transport = postgresTransport({ sql })
  const got: number[] = []
  const bindings = [sink(numbers, { group: 'g' }, ({ n }) => void got.push(n))]
  const binder = createBinder({ service: 'test', transport, bindings, sends: [numbers] })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  for (const segment of [4, 5, 6, 7]) {
    await sql.query(
      `CREATE TABLE concordat.transport_log_${segment} PARTITION OF concordat.transport_log FOR VALUES IN (${segment})`,
    )
    await sql.query('INSERT INTO concordat.transport_segment (segment) VALUES ($1)', [segment])
  }
  await sql.query(`DELETE FROM concordat.concordat_migration WHERE part = 'transport' AND version > 4`)
  binder.binding('numbers.g').pause()
  for (const [n, segment] of [5, 6, 7].entries()) {
    await sql.query('UPDATE concordat.transport_ring SET current = $1', [segment])
    // Of 6 it is wrong: a transaction that had begun before it was emptied wrote there.
    const isEmpty = segment === 6
    await sql.query('UPDATE concordat.transport_segment SET is_empty = $2 WHERE segment = $1', [segment, isEmpty])
    await binder.send(numbers, { n })
  }

  await postgresTransport({ sql }).migrate()

  const { rows } = await sql.query('SELECT segment FROM concordat.transport_segment ORDER BY segment')
  expect(rows).toEqual([0, 1, 2, 3, 5, 6, 7].map((segment) => ({ segment })))
  binder.binding('numbers.g').resume()
  for (let n = 3; n < 10; n++) await binder.send(numbers, { n })
  await until('all are handled', () => got.length === 10)
})
