import { createBinder, defineChannel, sink } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../support/log-lines.ts'
import { uniqueName, until } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'
import { FakePublisher } from './support/publisher.ts'

useEmbedded()

const orders = defineChannel('orders', { payload: z.object({ n: z.number(), card: z.string() }), groups: ['g'] })
const SECRET = 'tulip-4711'

test('the log lines of relay and inbox hold no payload, with any failure', async () => {
  const log = new LogLines()
  const { logger } = log
  const sql = embedded()
  const schema = uniqueName('logs')
  const outbox = createOutbox({ sql, service: 'shop', schema })
  const inbox = createInbox({ sql, schema, outbox, logger })
  await outbox.migrate()
  await inbox.migrate()
  const publisher = new FakePublisher()
  // The first is always refused and is parked; the second is refused at first and then accepted.
  publisher.verdict = ({ key }, tries) => (key === '1' ? 'too_large' : tries < 3 ? 'mismatch' : undefined)
  const backoff = { initialMs: 1, maxMs: 1 }
  const relay = createRelay({ outbox, publisher, logger, idlePollMs: 20, backoff })
  onTestFinished(() => relay.close())
  await relay.start()
  await sql.transaction(async (tx) => {
    for (const n of [1, 2]) await outbox.add(tx, orders, { n, card: SECRET }, { key: String(n) })
  })
  await until(async () => (await outbox.stats()).parked === 1 && publisher.confirmed.length === 1, 'both ended')

  const failing = sink(orders, { group: 'g', inbox, maxAttempts: 2, backoff }, async (_order, { tx }) => {
    await tx.query('SELECT 1 / 0')
  })
  const binder = createBinder({ service: 'shop', transport: memoryTransport(), logger, bindings: [failing] })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.send(orders, { n: 3, card: SECRET })
  await until(() => binder.binding('orders.g').status().deadLettered === 1, 'it failed')

  const said = log.lines.map(({ message }) => message)
  expect(said).toContain('outbox message parked: its key waits for outbox.retry or outbox.drop')
  expect(said).toContain('outbox message failed, its key waits')
  expect(said).toContain('message failed for good')
  expect(log.text).toContain('division by zero')
  expect(log.text).not.toContain(SECRET)
})
