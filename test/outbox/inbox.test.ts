import { createInbox, createOutbox } from 'concordat/outbox'
import { expect, test } from 'vitest'
import type { InboxMessage } from '../support/inside/binder.ts'
import { message, uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

async function setup(options: { readonly withOutbox?: boolean; readonly retentionMs?: number } = {}) {
  const sql = embedded()
  const schema = uniqueName('inbox')
  const outbox = createOutbox({ sql, service: 'stock', schema })
  await outbox.migrate()
  const inbox = createInbox({
    sql,
    schema,
    outbox: options.withOutbox === false ? undefined : outbox,
    retentionMs: options.retentionMs,
  })
  await inbox.migrate()
  await sql.query(`CREATE TABLE "${schema}".effect (id text)`)
  const incoming = (id: string, other: Partial<InboxMessage> = {}) => ({
    group: 'stock',
    destination: 'orders.placed',
    source: 'orders',
    id,
    ...other,
  })
  const effects = async (): Promise<number> =>
    (await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM "${schema}".effect`)).rows[0]?.n ?? 0
  const effect = `INSERT INTO "${schema}".effect VALUES ('x')`
  return { sql, schema, outbox, inbox, incoming, effects, effect }
}

test('an inbox handles a message once per group', async () => {
  const t = await setup()
  const work = async (tx: { query(text: string): Promise<unknown> }): Promise<void> => void (await tx.query(t.effect))
  expect(await t.inbox.process(t.incoming('a'), work)).toBe('processed')
  expect(await t.inbox.process(t.incoming('a'), work)).toBe('duplicate')
  expect(await t.inbox.process(t.incoming('a', { group: 'audit' }), work)).toBe('processed')
  expect(await t.effects()).toBe(2)
})

test.each([
  ['another channel', { destination: 'orders.cancelled' }],
  ['another sender', { source: 'shop' }],
])('an id that %s uses too is another message', async (_, other) => {
  const t = await setup()
  expect(await t.inbox.process(t.incoming('order-1'), async () => {})).toBe('processed')
  expect(await t.inbox.process(t.incoming('order-1', other), async () => {})).toBe('processed')
})

test('a handler that fails leaves no trace, and the message is handled when it comes again', async () => {
  const t = await setup()
  const failed = t.inbox.process(t.incoming('a'), async (tx, emit) => {
    await tx.query(t.effect)
    await emit([message('out')])
    throw new Error('later')
  })
  await expect(failed).rejects.toThrow('later')
  expect(await t.effects()).toBe(0)
  expect((await t.outbox.stats()).pending).toBe(0)
  expect(await t.inbox.process(t.incoming('a'), async (tx) => void (await tx.query(t.effect)))).toBe('processed')
  expect(await t.effects()).toBe(1)
})

test('a handler that swallows a failed statement does not count as done', async () => {
  const t = await setup()
  const swallowing = t.inbox.process(t.incoming('a'), async (tx) => {
    await tx.query('SELECT * FROM missing').catch(() => undefined)
  })
  await expect(swallowing).rejects.toMatchObject({ code: 'core.sql_commit' })
  expect(await t.inbox.process(t.incoming('a'), async () => {})).toBe('processed')
})

test('the messages that a handler sends commit with its effect', async () => {
  const t = await setup()
  expect(t.inbox.hasOutbox).toBe(true)
  await t.inbox.process(t.incoming('a'), async (tx, emit) => {
    await tx.query(t.effect)
    await emit([message('out1'), message('out2')])
  })
  expect((await t.outbox.stats()).pending).toBe(2)
})

test('without an outbox refuses the messages of a handler', async () => {
  const t = await setup({ withOutbox: false })
  expect(t.inbox.hasOutbox).toBe(false)
  const sending = t.inbox.process(t.incoming('a'), (_, emit) => emit([message('out')]))
  await expect(sending).rejects.toMatchObject({ code: 'outbox.inbox_without_outbox' })
})

test('an inbox sweeps ids older than the retention, and keeps the younger', async () => {
  const t = await setup({ retentionMs: 3_600_000 })
  await t.sql.query(
    `INSERT INTO "${t.schema}".inbox (consumer, channel, source, message_id, received_at) SELECT 'stock', 'orders.placed', 'orders', 'old' || i, now() - interval '61 minutes' FROM generate_series(1, 12000) i`,
  )
  await t.sql.query(
    `INSERT INTO "${t.schema}".inbox (consumer, channel, source, message_id, received_at) VALUES ('stock', 'orders.placed', 'orders', 'young', now() - interval '59 minutes')`,
  )
  expect(await t.inbox.sweep()).toBe(12_000)
  expect(await t.inbox.sweep()).toBe(0)
  expect(await t.inbox.process(t.incoming('young'), async () => {})).toBe('duplicate')
})

test('an inbox sweeps in the background until closed', async () => {
  const t = await setup()
  await t.sql.query(
    `INSERT INTO "${t.schema}".inbox (consumer, channel, source, message_id, received_at) VALUES ('stock', 'orders.placed', 'orders', 'old', now() - interval '8 days')`,
  )
  t.inbox.start()
  t.inbox.start()
  await t.inbox.close()
  expect(await t.inbox.process(t.incoming('old'), async () => {})).toBe('processed')
})

test.each([
  [{ retentionMs: 1 }, 'createInbox.retentionMs'],
  [{ sweepEveryMs: 0 }, 'createInbox.sweepEveryMs'],
  [{ schema: '' }, 'createInbox.schema: expected 1 to 63 bytes'],
])('an inbox refuses the option %o by name', (options, path) => {
  expect(() => createInbox({ sql: embedded(), ...options })).toThrow(path)
})
