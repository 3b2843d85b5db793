/** Destination of a handler's outputs that are named at run time: the one of their channel, with any inbox. */
import { channelAt, createBinder, defineChannel, processor, processorBatch, produced, sink, to } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresTransport } from 'concordat/postgres'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const payload = z.object({ n: z.number().int() })
const placed = defineChannel('placed', { payload, key: ({ n }) => `k${n}`, groups: ['d'], transactional: true })
const asked = defineChannel('asked', { payload, key: ({ n }) => `k${n}`, groups: ['d'] })
const shipping = defineChannel('shipping', { payload, key: ({ n }) => `k${n}`, partitions: 8, groups: ['eu'] })

const KINDS = {
  'without an inbox': (at: string) => processor(placed, shipping, { group: 'd' }, ({ n }) => to(at, { n })),
  'with an inbox': (at: string) => processor(asked, shipping, { group: 'd', once: true }, ({ n }) => to(at, { n })),
  'with an inbox, each alone': (at: string) =>
    processor(asked, shipping, { group: 'd', once: true, sharesTransactions: false }, ({ n }) => to(at, { n })),
  'that settles in its transaction': (at: string) =>
    processor(placed, shipping, { group: 'd', settlesIn: sql }, ({ n }) => to(at, { n })),
  'of batches with an inbox': (at: string) =>
    processorBatch(placed, shipping, { group: 'd', once: true }, async (items) =>
      items.map(({ payload: { n } }) => produced(to(at, { n }))),
    ),
} as const

it.each(Object.entries(KINDS))('an output of a processor %s has the partitions of its channel', async (_, kind) => {
  const schema = `places_${Object.values(KINDS).indexOf(kind)}`
  const binding = kind('shipping.eu')
  const input = binding.input.name === placed.name ? placed : asked
  const service = createService({
    name: 'shop',
    schema,
    sql,
    transport: postgresTransport({ sql, schema, pollMs: 20 }),
    bindings: [binding as never],
    sends: [input],
  })
  onTestFinished(() => service.close())
  await service.start()
  await service.transaction((tx) => tx.send(input, { n: 1 }))
  await until('it is handled', async () => (await service.binder.lag(`${input.name}.d` as never)) === 0)
  const got: number[] = []
  const reading = createBinder({
    service: 'ship',
    transport: postgresTransport({ sql, schema, pollMs: 20 }),
    bindings: [sink(channelAt(shipping, 'shipping.eu'), { group: 'eu' }, ({ n }) => void got.push(n))],
  })
  onTestFinished(() => reading.close())
  await reading.start()
  await until('it has arrived', () => got.length > 0)
  expect(got).toEqual([1])
})
