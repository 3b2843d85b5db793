import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { expect, test } from 'vitest'
import { message, uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'
import { FakePublisher } from './support/publisher.ts'

useEmbedded()

const schema = uniqueName('missing')
const setup = () => {
  const sql = embedded()
  return { sql, outbox: createOutbox({ sql, service: 'orders', schema }), inbox: createInbox({ sql, schema }) }
}
const incoming = { group: 'stock', destination: 'orders.placed', source: 'orders', id: 'a' }
/** Error of calls that check the tables first. */
const saysBefore = (call: string) => ({
  code: 'core.tables_missing',
  retryable: false,
  message: expect.stringContaining(call),
})
/** Error of calls that meet the missing table or schema. */
const says = (call: string, code = '42P01') => ({ ...saysBefore(call), cause: { code } })

test('add reports that outbox.migrate() was not called', async () => {
  const { sql, outbox } = setup()
  const added = sql.transaction((tx) => outbox.addEncoded(tx, [message('a')]))
  await expect(added).rejects.toMatchObject(says('outbox.migrate()', '3F000'))
})

test('a relay does not start', async () => {
  const relay = createRelay({ outbox: setup().outbox, publisher: new FakePublisher() })
  await expect(relay.start()).rejects.toMatchObject(saysBefore('outbox.migrate()'))
  expect(relay.health()).toMatchObject({ detail: expect.stringContaining('outbox.migrate()') })
  await relay.close()
})

test('nor does it on tables of a release that this one cannot work with', async () => {
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'orders', schema: uniqueName('newer') })
  await outbox.migrate()
  await sql.query(
    `INSERT INTO ${outbox.schema}.concordat_migration (part, version, works_with) VALUES ('outbox', 98, 98)`,
  )
  const relay = createRelay({ outbox, publisher: new FakePublisher() })
  await expect(relay.start()).rejects.toMatchObject({ code: 'core.sql_version', found: 98 })
  expect(relay.health()).toMatchObject({ detail: expect.stringContaining('version 98') })
  await relay.close()
})

test('an inbox is not ready, and processes nothing', async () => {
  const { inbox } = setup()
  await expect(inbox.ready?.()).rejects.toMatchObject(saysBefore('inbox.migrate()'))
  await expect(inbox.process(incoming, async () => {})).rejects.toMatchObject(says('inbox.migrate()'))
  await expect(inbox.sweep()).rejects.toMatchObject(says('inbox.migrate()'))
})

test("a handler's own missing table stays the driver's error", async () => {
  const { inbox } = setup()
  await inbox.migrate()
  await expect(inbox.ready?.()).resolves.toBeUndefined()
  const processed = inbox.process(incoming, async (tx) => void (await tx.query('SELECT FROM nowhere')))
  await expect(processed).rejects.toMatchObject({ code: '42P01' })
})

test('an inbox is not ready while its outbox has no tables', async () => {
  const { sql, outbox } = setup()
  const inbox = createInbox({ sql, schema: uniqueName('half'), outbox })
  await inbox.migrate()
  await expect(inbox.ready?.()).rejects.toMatchObject(saysBefore('outbox.migrate()'))
})
