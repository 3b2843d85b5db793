import { createBinder, defineChannel, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName, until } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const orders = defineChannel('orders', { payload: z.number(), groups: ['g'] })

test('a delayed message waits in the broker, not in the outbox, and not longer than requested', async () => {
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'shop', schema: uniqueName('outbox') })
  await outbox.migrate()
  const arrivals: number[] = []
  const seen: unknown[] = []
  const reader = sink(orders, { group: 'g' }, (_n, { headers }) => {
    arrivals.push(Date.now())
    seen.push(headers)
  })
  const binder = createBinder({ service: 'shop', transport: memoryTransport(), bindings: [reader] })
  onTestFinished(() => binder.close())
  await binder.start()
  const relay = createRelay({ outbox, publisher: binder, idlePollMs: 20 })
  onTestFinished(() => relay.close())
  await relay.start()
  const sentAt = Date.now()
  const [late, soon] = [3_600_000, 400]
  await sql.transaction(async (tx) => {
    await outbox.add(tx, orders, 1, { delayMs: late, headers: { tenant: 'acme' } })
    await outbox.add(tx, orders, 2, { delayMs: soon, headers: { tenant: 'acme' } })
  })
  await until(() => arrivals.length === 1, 'the sooner one came')
  expect((arrivals[0] ?? 0) - sentAt).toBeGreaterThanOrEqual(soon)
  expect(seen).toEqual([{ tenant: 'acme' }])
  await until(async () => (await outbox.stats()).pending === 0, 'the outbox is empty')
})

test('the deduplication of an inbox does not take a delayed retry for a duplicate', async () => {
  const sql = embedded()
  const schema = uniqueName('inbox')
  const inbox = createInbox({ sql, schema })
  await inbox.migrate()
  await sql.query(`CREATE TABLE "${schema}".effect (attempt int)`)
  const attempts: number[] = []
  const backoff = { initialMs: 20, maxMs: 20 }
  const flaky = sink(orders, { group: 'g', inbox, retry: 'delayed', backoff }, async (_n, { tx, attempt }) => {
    attempts.push(attempt)
    await tx.query(`INSERT INTO "${schema}".effect VALUES ($1)`, [attempt])
    if (attempt < 3) throw new Error('not yet')
  })
  const binder = createBinder({ service: 'stock', transport: memoryTransport(), bindings: [flaky] })
  onTestFinished(() => binder.close())
  await binder.start()
  const { id } = await binder.send(orders, 1)
  await until(() => binder.binding('orders.g').status().handled === 1, 'it was handled')
  await binder.send(orders, 1, { id })
  await until(() => binder.binding('orders.g').status().handled === 2, 'the duplicate was settled')
  expect(attempts).toEqual([1, 2, 3])
  const { rows } = await sql.query<{ attempt: number }>(`SELECT attempt FROM "${schema}".effect`)
  expect(rows).toEqual([{ attempt: 3 }])
})
