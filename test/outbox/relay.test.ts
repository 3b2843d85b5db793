import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { createOutbox, createRelay } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { freshPglite } from '../support/pglite.ts'
import { message, until } from './support/messages.ts'
import { embedded, setupOutbox, useEmbedded } from './support/pglite.ts'
import { FakePublisher } from './support/publisher.ts'

useEmbedded()

describe('start', () => {
  test('takes every partition when it is alone', async () => {
    await using t = await setupOutbox({ partitions: 5 })
    const relay = t.relay()
    expect(relay.health()).toMatchObject({ status: 'idle', partitions: [] })
    await relay.start()
    expect(relay.health()).toMatchObject({ status: 'up', partitions: [0, 1, 2, 3, 4], relays: 1 })
  })

  test('takes over a dead process’ partitions at once on an embedded database', { timeout: 180_000 }, async () => {
    const database = freshPglite()
    const dead = createOutbox({ sql: pgliteClient(database), service: 'orders' })
    await dead.migrate()
    await createRelay({ outbox: dead, publisher: new FakePublisher(), leaseMs: 600_000 }).start()
    const outbox = createOutbox({ sql: pgliteClient(database), service: 'orders' })
    const relay = createRelay({ outbox, publisher: new FakePublisher() })
    await relay.start()
    expect(relay.health().partitions).toEqual([0, 1, 2, 3])
    await relay.close()
    await database.close()
  })

  test('resolves while the database is down, and the relay works when it is back', async () => {
    await using t = await setupOutbox()
    let away = true
    const flaky: SqlClient = {
      ...t.sql,
      query: (text, parameters) => (away ? Promise.reject(new Error('ECONNREFUSED')) : t.sql.query(text, parameters)),
    }
    const outbox = createOutbox({ sql: flaky, service: 'orders', schema: t.outbox.schema, partitions: 2 })
    await t.sql.transaction((tx) => outbox.addEncoded(tx, [message('a')]))
    const relay = t.relay({ outbox })
    await relay.start()
    expect(relay.health()).toMatchObject({ status: 'down', detail: 'ECONNREFUSED' })
    away = false
    await until(() => t.publisher.confirmed.length === 1, 'published')
    expect(relay.health().status).toBe('up')
  })

  test.each([
    [{ leaseMs: 10 }, 'createRelay.leaseMs'],
    [{ batchSize: 0 }, 'createRelay.batchSize'],
    [{ idlePollMs: 0 }, 'createRelay.idlePollMs'],
    [{ maxAttempts: 0 }, 'createRelay.maxAttempts'],
    [{ backoff: { factor: 0 } }, 'createRelay.backoff.factor'],
    [{ publisher: {} as never }, 'createRelay.publisher'],
  ])('refuses the option %o by name', (options, path) => {
    const outbox = createOutbox({ sql: embedded(), service: 'orders' })
    expect(() => createRelay({ outbox, publisher: new FakePublisher(), ...options })).toThrow(path)
  })
})

describe('sharing', () => {
  test('relays that come and go share the partitions evenly', async () => {
    await using t = await setupOutbox({ partitions: 4 })
    const [a, b] = [t.relay({ leaseMs: 1_000 }), t.relay({ leaseMs: 1_000 })]
    await a.start()
    await b.start()
    await until(() => a.health().partitions.length === 2 && b.health().partitions.length === 2, 'two each')
    expect([...a.health().partitions, ...b.health().partitions].toSorted((x, y) => x - y)).toEqual([0, 1, 2, 3])
    await a.close()
    await until(() => b.health().partitions.length === 4, 'all four')
  })
})

describe('settling', () => {
  test('a published message is not published again while the database is unavailable for the delete', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    let failures = 3
    const flaky: SqlClient = {
      ...t.sql,
      query: (text, parameters) => {
        if (text.includes('outbox_confirm') && failures-- > 0) return Promise.reject(new Error('connection lost'))
        return t.sql.query(text, parameters)
      },
    }
    const outbox = createOutbox({ sql: flaky, service: 'orders', schema: t.outbox.schema, partitions: 1 })
    await t.sql.transaction((tx) => outbox.addEncoded(tx, [message('a'), message('b', 'other')]))
    await t.relay({ outbox }).start()
    await until(async () => (await t.outbox.stats()).pending === 0, 'settled')
    expect(t.publisher.ids).toEqual(['a', 'b'])
    expect(failures).toBeLessThan(0)
  })
})

describe('waking', () => {
  test('a message added through the same outbox does not wait for the poll', async () => {
    await using t = await setupOutbox()
    await t.relay({ idlePollMs: 60_000 }).start()
    for (let i = 0; i < 5; i++) await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message(`m${i}`)]))
    await until(() => t.publisher.confirmed.length === 5, 'published', 5_000)
  })

  test('a message added by others is found by the poll', async () => {
    await using t = await setupOutbox()
    await t.relay({ idlePollMs: 20 }).start()
    const other = createOutbox({ sql: t.sql, service: 'orders', schema: t.outbox.schema, partitions: 2 })
    await t.sql.transaction((tx) => other.addEncoded(tx, [message('a')]))
    await until(() => t.publisher.confirmed.length === 1, 'published')
  })
})

describe('close', () => {
  test('settles the window in flight and frees the partitions', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const inFlight = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<void>()
    t.publisher.before = () => {
      inFlight.resolve()
      return answer.promise
    }
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    const relay = t.relay()
    await relay.start()
    await inFlight.promise
    const closing = relay.close()
    answer.resolve()
    await closing
    expect((await t.outbox.stats()).pending).toBe(0)
    expect(relay.health()).toMatchObject({ status: 'closed', partitions: [] })
    const { rows } = await t.sql.query(`SELECT owner, epoch::int AS epoch FROM "${t.outbox.schema}".outbox_lease`)
    expect(rows).toEqual([{ owner: null, epoch: 1 }])
  })

  test('still sends what was committed right before it', async () => {
    await using t = await setupOutbox({ partitions: 2 })
    const relay = t.relay({ idlePollMs: 3_600_000 })
    await relay.start()
    const messages = [message('a'), message('b'), message('c')]
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, messages))
    await relay.close()
    expect(t.publisher.confirmed).toHaveLength(3)
    expect((await t.outbox.stats()).pending).toBe(0)
  })

  test('does not wait for a broker that never answers longer than the drain', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const inFlight = Promise.withResolvers<void>()
    t.publisher.before = () => {
      inFlight.resolve()
      return new Promise(() => {})
    }
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    const relay = t.relay({ drainTimeoutMs: 50 })
    await relay.start()
    await inFlight.promise
    await relay.close()
    expect((await t.outbox.stats()).pending).toBe(1)
    const { rows } = await t.sql.query(`SELECT owner IS NULL AS free FROM "${t.outbox.schema}".outbox_lease`)
    expect(rows).toEqual([{ free: false }])
  })

  test('does not wait for a database that never answers', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    let frozen = false
    const freezing: SqlClient = {
      ...t.sql,
      query: (text, parameters) => (frozen ? new Promise(() => {}) : t.sql.query(text, parameters)),
    }
    const outbox = createOutbox({ sql: freezing, service: 'orders', schema: t.outbox.schema, partitions: 1 })
    const relay = createRelay({ outbox, publisher: t.publisher, drainTimeoutMs: 50 })
    await relay.start()
    frozen = true
    await relay.close()
    expect(relay.health().status).toBe('closed')
  })

  test('is idempotent and possible before start', async () => {
    await using t = await setupOutbox()
    const relay = t.relay()
    await Promise.all([relay.close(), relay.close()])
    expect(relay.health().status).toBe('closed')
  })
})
