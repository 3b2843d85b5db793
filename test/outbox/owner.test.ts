import type { SqlClient } from 'concordat/core'
import { printMigrations } from 'concordat/operator'
import { createOutbox, createRelay } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { message, uniqueName, until } from './support/messages.ts'
import { embedded, setupOutbox, useEmbedded } from './support/pglite.ts'
import { FakePublisher } from './support/publisher.ts'

const database = useEmbedded()

describe('an outbox belongs to one service', () => {
  test('another service on the same tables is refused, by every call that would use them', async () => {
    await using t = await setupOutbox()
    const { schema, partitions } = t.outbox
    const other = createOutbox({ sql: t.sql, service: 'billing', schema, partitions })
    const owned = { code: 'outbox.owner', owner: 'orders', service: 'billing' }
    await expect(other.migrate()).rejects.toMatchObject(owned)
    await expect(other.ready()).rejects.toMatchObject(owned)
    const adding = t.sql.transaction((tx) => other.addEncoded(tx, [message('a')]))
    await expect(adding).rejects.toMatchObject(owned)
    const addingTwo = t.sql.transaction((tx) => other.addEncoded(tx, [message('a'), message('b')]))
    await expect(addingTwo).rejects.toMatchObject(owned)
    const relay = createRelay({ outbox: other, publisher: new FakePublisher() })
    await expect(relay.start()).rejects.toMatchObject(owned)
    await relay.close()
    expect((await t.outbox.stats()).pending).toBe(0)
  })

  test('a relay that found no database at its start checks the outbox’s owner before it takes anything', async () => {
    await using t = await setupOutbox()
    let isAway = true
    const sql = {
      ...t.sql,
      query: ((text: string, parameters?: readonly unknown[]) =>
        isAway ? Promise.reject(new Error('ECONNREFUSED')) : t.sql.query(text, parameters)) as typeof t.sql.query,
    }
    const { schema, partitions } = t.outbox
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    const publisher = new FakePublisher()
    const relay = t.relay({ outbox: createOutbox({ sql, service: 'billing', schema, partitions }), publisher })
    await relay.start()
    isAway = false
    await until(() => relay.health().detail?.includes('belongs to the service "orders"') === true, 'it says so')
    expect(publisher.calls).toEqual([])
    expect(relay.health().partitions).toEqual([])
  })

  test('tables without a service, from printed SQL, are taken by the first that migrates', async () => {
    const schema = uniqueName('unowned')
    await database.exec(printMigrations({ schema, parts: ['outbox'] }))
    const first = createOutbox({ sql: embedded(), service: 'orders', schema })
    const second = createOutbox({ sql: embedded(), service: 'billing', schema })
    await first.ready()
    await second.ready()
    await first.migrate()
    await expect(second.ready()).rejects.toMatchObject({ code: 'outbox.owner' })
    await first.ready()
  })
})

describe('a failed message is named by more than its id', () => {
  async function twoFailed() {
    const t = await setupOutbox()
    t.publisher.verdict = () => 'too_large'
    const twins = [message('o-1', 'a', { destination: 'invoices' }), message('o-1', 'b', { destination: 'mails' })]
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, twins))
    await t.relay().start()
    await until(async () => (await t.outbox.parked()).length === 2, 'both are parked')
    return t
  }
  const note = { by: 'ann', reason: 'sent by hand' }

  test('several of one id are left as they are, and the error lists them', async () => {
    await using t = await twoFailed()
    const ambiguous = {
      code: 'outbox.ambiguous',
      places: [
        { destination: 'invoices', source: 'orders' },
        { destination: 'mails', source: 'orders' },
      ],
    }
    await expect(t.outbox.drop('o-1', note)).rejects.toMatchObject(ambiguous)
    await expect(t.outbox.retry('o-1')).rejects.toMatchObject(ambiguous)
    expect(await t.outbox.parked()).toHaveLength(2)
  })

  test('the named one is dropped, the other stays', async () => {
    await using t = await twoFailed()
    expect(await t.outbox.drop({ id: 'o-1', destination: 'mails' }, note)).toBe(true)
    expect((await t.outbox.parked()).map((each) => each.message.destination)).toEqual(['invoices'])
    expect(await t.outbox.drop({ id: 'o-1', source: 'nobody' }, note)).toBe(false)
    t.publisher.verdict = () => undefined
    expect(await t.outbox.retry('o-1', note)).toBe(true)
    await until(() => t.publisher.ids.length === 1, 'it has left')
  })

  test('a retried message has all its attempts again', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    t.publisher.verdict = () => 'unroutable'
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('o-1')]))
    await t.relay({ maxAttempts: 3 }).start()
    for (const attempts of [3, 6]) {
      await until(async () => (await t.outbox.parked()).length === 1, 'it is parked')
      expect(await t.outbox.parked()).toMatchObject([{ attempts }])
      expect(await t.outbox.retry('o-1', note)).toBe(true)
    }
  })

  test.each(['drop', 'retry'] as const)(
    '%s touches the one it found, and none that fails in this moment',
    async (action) => {
      await using t = await setupOutbox({ partitions: 1 })
      t.publisher.verdict = () => 'too_large'
      const add = (destination: string, key: string) =>
        t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('o-1', key, { destination })]))
      await add('invoices', 'a')
      await t.relay().start()
      await until(async () => (await t.outbox.parked()).length === 1, 'it is parked')
      const query: SqlClient['query'] = async (text, parameters) => {
        const result = await t.sql.query<never>(text, parameters)
        if (text.includes('SELECT DISTINCT aggregatetype')) {
          await add('mails', 'b')
          await until(async () => (await t.outbox.parked()).length === 2, 'the other is parked, too')
          t.publisher.verdict = () => undefined
        }
        return result
      }
      const { schema, partitions } = t.outbox
      const outbox = createOutbox({ sql: { ...t.sql, query }, service: 'orders', schema, partitions })
      expect(await outbox[action]('o-1', note)).toBe(true)
      await until(async () => (await t.outbox.parked()).length === 1, 'one is left')
      expect((await t.outbox.parked()).map((each) => each.message.destination)).toEqual(['mails'])
    },
  )

  test.each([
    ['', /outbox\.drop/],
    [{ id: '' }, /outbox\.drop\.id/],
    [{ id: 'a', destination: '' }, /outbox\.drop\.destination/],
    [{ id: 'a', topic: 'x' } as never, /outbox\.drop\.topic/],
  ])('%j is refused', async (which, error) => {
    await using t = await setupOutbox()
    await expect(t.outbox.drop(which, note)).rejects.toThrow(error)
  })
})
