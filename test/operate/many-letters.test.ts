/** Looks at more dead letters than a reader may usually leave behind it. */
import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink, TerminalError } from 'concordat/binder'
import { postgresTransport } from 'concordat/postgres'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import { database } from './support/log-groups.ts'

const COUNT = 10_050
const place = { channel: 'orders.placed', group: 'stock' }
const placed = defineChannel('orders.placed', { payload: z.object({ n: z.number() }), key: () => 'k' })

test('more than ten thousand dead letters are looked through for an id, and the look leaves nothing that counts as one', async () => {
  const sql = await database()
  const stock = sink(placed, { group: 'stock' }, () => {
    throw new TerminalError('closed')
  })
  const binder = createBinder({ service: 'shop', transport: postgresTransport({ sql }), bindings: [stock] })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.send(placed, { n: 0 }, { id: 'd-0' })
  const { letters } = createOperator({ sql })
  await until('it is a dead letter', async () => (await letters.count(place)) === 1)
  await sql.query(
    `INSERT INTO concordat.transport_log (segment, part, key, meta, body)
     SELECT l.segment, l.part, l.key, replace(l.meta::text, 'd-0', 'd-' || g)::json, l.body
     FROM concordat.transport_log l JOIN concordat.transport_partition p ON p.id = l.part, generate_series(1, $1::int) g
     WHERE destination = 'orders.placed.stock.dlq'`,
    [COUNT],
  )
  const id = `d-${COUNT}`
  expect(await letters.list(place, { id })).toMatchObject([{ id }])
  expect(await letters.count(place)).toBe(COUNT + 1)
})
