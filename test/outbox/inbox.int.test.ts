import { createInbox, createOutbox, type SqlInbox } from 'concordat/outbox'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith } from '../support/servers/index.ts'
import { message, uniqueName, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'

describeWith(['postgres'], 'inbox on a server', () => {
  let database: TestDatabase
  let schema: string
  let inbox: SqlInbox
  beforeAll(async () => {
    database = await createDatabase()
    schema = uniqueName('inbox')
    const outbox = createOutbox({ sql: database.sql, service: 'stock', schema })
    inbox = createInbox({ sql: database.sql, schema, outbox })
    await outbox.migrate()
    await inbox.migrate()
  })
  afterAll(() => database.drop())

  const incoming = (id: string) => ({ group: 'stock', destination: 'orders.placed', source: 'orders', id })

  /**
   * The first handler holds its transaction open until the test ends it; the second delivery waits for it on the
   * server.
   */
  async function race(id: string) {
    const end = Promise.withResolvers<void>()
    const running = Promise.withResolvers<void>()
    const first = inbox.process(incoming(id), async () => {
      running.resolve()
      await end.promise
    })
    await running.promise
    let calls = 0
    const second = inbox.process(incoming(id), async () => {
      calls++
    })
    const waiting = `SELECT 1 FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO%inbox%'`
    await until(async () => (await database.sql.query(waiting)).rowCount === 1, 'second delivery waits')
    return { first, second, end, calls: () => calls }
  }

  test('a delivery that runs at the same time waits, and is a duplicate when the first one commits', async () => {
    const t = await race('a')
    t.end.resolve()
    expect(await t.first).toBe('processed')
    expect(await t.second).toBe('duplicate')
    expect(t.calls()).toBe(0)
  })

  test('a delivery that runs at the same time waits, and is handled when the first one rolls back', async () => {
    const t = await race('b')
    t.end.reject(new Error('first failed'))
    await expect(t.first).rejects.toThrow('first failed')
    expect(await t.second).toBe('processed')
    expect(t.calls()).toBe(1)
  })

  test('a process whose connection dies in the handler leaves no trace, and the message is handled again', async () => {
    const killed = inbox.process(incoming('c'), async (tx, emit) => {
      await emit([message('out')])
      const { rows } = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      await database.sql.query('SELECT pg_terminate_backend($1)', [rows[0]?.pid])
      await tx.query('SELECT 1')
    })
    await expect(killed).rejects.toThrow()
    expect(await inbox.process(incoming('c'), async () => {})).toBe('processed')
  })

  test('several processes that sweep at once delete each id once', async () => {
    await database.sql.query(
      `INSERT INTO "${schema}".inbox (consumer, channel, source, message_id, received_at) SELECT 'old', 'orders.placed', 'orders', i::text, now() - interval '30 days' FROM generate_series(1, 20000) i`,
    )
    const swept = await Promise.all([inbox.sweep(), inbox.sweep(), inbox.sweep()])
    expect(swept.reduce((sum, n) => sum + n, 0) + (await inbox.sweep())).toBe(20_000)
  })
})
