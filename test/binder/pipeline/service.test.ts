import { systemMermaid, systemText } from '@concordat/cli'
import { PGlite } from '@electric-sql/pglite'
import { defineChannel, sink } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describeSystem } from 'concordat/operator'
import { from, pipeline } from 'concordat/pipeline'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'
import { sold, totalling, totals } from './support/world.ts'

let database: PGlite
beforeAll(async () => {
  database = freshPglite()
  await database.waitReady
}, 180_000)
afterAll(() => database.close(), 60_000)

function serviceOf(options: { readonly limits: Parameters<typeof totalling>[1]; readonly schema: string }) {
  const broker = memoryBroker()
  const sql = pgliteClient(database)
  const { bindings } = totalling(undefined, options.limits)
  const common = { name: 'shop', sql, schema: options.schema, bindings, sends: [sold, totals] }
  return { sql, start: () => createService({ ...common, transport: memoryTransport({ broker }) }), common }
}

test('a service makes the table in its schema, and completes the bindings', async () => {
  const { sql, start } = serviceOf({ limits: { count: 2 }, schema: 'svc' })
  await using shop = start()
  await shop.start()
  await shop.ready()
  for (const cents of [1, 2, 3]) await shop.transaction((tx) => tx.send(sold, { sku: 'apple', cents }))
  await until('all are handled', () => shop.binder.binding('sold.totals').status().handled === 3)
  const { rows } = await sql.query('SELECT pipeline, name, key, count::int, state FROM svc.pipeline_window')
  expect(rows).toEqual([{ pipeline: 'totals', name: 'window', key: 'apple', count: 1, state: '3' }])
})

test('without the table it does not start in check mode', async () => {
  const { common } = serviceOf({ limits: { count: 2 }, schema: 'checked' })
  const whole = createService({ ...common, bindings: [], transport: memoryTransport() })
  await whole.start()
  await whole.close()
  await using shop = createService({ ...common, transport: memoryTransport(), migrate: 'check' })
  await expect(shop.start()).rejects.toMatchObject({
    code: 'core.tables_missing',
    message: expect.stringContaining('migratePipelines'),
  })
})

test('timers that a broker lost are sent again at the next start', async () => {
  const { sql, start } = serviceOf({ limits: { everyMs: 60_000 }, schema: 'lost' })
  {
    await using shop = start()
    await shop.start()
    await shop.transaction((tx) => tx.send(sold, { sku: 'fig', cents: 7 }))
    await until('it is handled', () => shop.binder.binding('sold.totals').status().handled === 1)
  }
  // The interval ends while the service is down, and the broker is recreated.
  await sql.query(
    `UPDATE lost.pipeline_window SET starts_at = now() - interval '2 min', ends_at = now() - interval '1 min'`,
  )
  const { start: startAnew } = serviceOf({ limits: { everyMs: 60_000 }, schema: 'lost' })
  await using shop = startAnew()
  await shop.start()
  await until('the window is closed', async () => {
    const { rows } = await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM lost.pipeline_window')
    return rows[0]?.n === 0
  })
})

/** Key so random that the index cannot compress it. */
const keyOf = (length: number, from: number): string =>
  Array.from({ length }, (_, n) => String.fromCharCode(from + ((n * 7_919 + ((n * n) >> 3) * 31) % 600))).join('')

test('a message with invalid or too many keys is dead-lettered at once with the remedy', async () => {
  const many = defineChannel('many', { payload: z.array(z.string()), partitions: 1 })
  const dead = defineChannel('many.many.dlq', { payload: z.array(z.string()), partitions: 1 })
  const { bindings } = pipeline(
    'many',
    from(many, { once: true })
      .flatMap((keys) => keys)
      .window({ count: 2, key: (key) => key })
      .forEach(() => {}),
  )
  const said: unknown[] = []
  const look = sink(dead, { group: 'look' }, (_, { headers }) => void said.push(headers['dead-letter-error-message']))
  const sql = pgliteClient(database)
  const all = [...bindings, look]
  await using shop = createService({
    name: 'shop',
    sql,
    schema: 'keys',
    bindings: all,
    sends: [many],
    transport: memoryTransport(),
  })
  await shop.start()
  await shop.ready()
  await shop.send(many, [keyOf(1_024, 0x4e00)])
  await shop.send(many, [keyOf(1_024, 0x100)]) // as long as one may be
  await shop.send(
    many,
    Array.from({ length: 1_001 }, (_, n) => `k${n}`),
  )
  await until('two are dead letters', () => said.length === 2)
  expect(said).toEqual([
    expect.stringContaining('window "window" of pipeline "many": key: expected at most 2048 bytes in UTF-8'),
    expect.stringContaining('put through(channel) between flatMap and the window'),
  ])
  expect(shop.binder.binding('many.many').status()).toMatchObject({ handled: 1, deadLettered: 2 })
  const { rows } = await sql.query('SELECT octet_length(key) AS bytes FROM keys.pipeline_window')
  expect(rows).toEqual([{ bytes: 2_048 }])
})

test('a pipeline is drawn with its name and its stages', () => {
  const { common } = serviceOf({ limits: { count: 2, everyMs: 1_000 }, schema: 'drawn' })
  const system = describeSystem([common])
  expect(system.services[0]?.pipelines).toEqual([
    {
      name: 'totals',
      parts: [
        {
          binding: 'sold.totals',
          input: 'sold',
          stages: [
            { kind: 'window', label: 'window: 2 messages or 1000 ms', channel: 'totals.window.timers', ways: [] },
            { kind: 'map', label: 'toTotal', channel: null, ways: [] },
            { kind: 'to', label: 'totals', channel: 'totals', ways: [] },
          ],
        },
      ],
    },
  ])
  expect(systemText(system)).toContain(
    '  pipeline totals\n    from sold > window window: 2 messages or 1000 ms > map toTotal > to totals',
  )
  const picture = systemMermaid(system)
  expect(picture).toContain('subgraph s0p0["pipeline totals"]')
  expect(picture).toMatch(/c\d+ --> s0p0t0\n/)
  expect(picture).toMatch(/s0p0t0 --> s0p0t1\n/)
  expect(picture).toMatch(/s0p0t1 --> c\d+\n/)
  expect(system.channels.find(({ name }) => name === 'totals.window.timers')).toMatchObject({ senders: ['shop'] })
})
