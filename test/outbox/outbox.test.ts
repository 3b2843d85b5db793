import { defineChannel } from 'concordat/binder'
import { bytesCodec } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { message, until } from './support/messages.ts'
import { embedded, setupOutbox, useEmbedded } from './support/pglite.ts'

const placed = defineChannel('orders.placed', {
  payload: z.object({ orderId: z.string(), total: z.number().int().positive() }),
  key: (order) => order.orderId,
})

useEmbedded()

describe('add', () => {
  test('sends what committed, as it was added', async () => {
    await using t = await setupOutbox()
    const { id } = await t.sql.transaction((tx) =>
      t.outbox.add(tx, placed, { orderId: 'o-1', total: 5 }, { headers: { tenant: 't', retry: 1 }, time: 1234 }),
    )
    await t.relay().start()
    await until(() => t.publisher.confirmed.length === 1, 'published')
    const [sent] = t.publisher.confirmed
    expect({ ...sent, body: new TextDecoder().decode(sent?.body ?? undefined) }).toEqual({
      id,
      destination: 'orders.placed',
      key: 'o-1',
      type: 'orders.placed',
      source: 'orders',
      contentType: 'application/json',
      time: 1234,
      headers: { tenant: 't', retry: 1 },
      body: '{"orderId":"o-1","total":5}',
    })
  })

  test('sends nothing of a transaction that rolled back', async () => {
    await using t = await setupOutbox()
    const failed = t.sql.transaction(async (tx) => {
      await t.outbox.add(tx, placed, { orderId: 'o-1', total: 5 })
      throw new Error('changed my mind')
    })
    await expect(failed).rejects.toThrow('changed my mind')
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('later')]))
    await t.relay().start()
    await until(() => t.publisher.confirmed.length > 0, 'published')
    expect(t.publisher.ids).toEqual(['later'])
  })

  test('refuses an invalid payload and leaves the transaction usable', async () => {
    await using t = await setupOutbox()
    await t.sql.transaction(async (tx) => {
      await expect(t.outbox.add(tx, placed, { orderId: 'o-1', total: -1 })).rejects.toMatchObject({
        code: 'core.schema',
      })
      await t.outbox.add(tx, placed, { orderId: 'o-1', total: 1 })
    })
    expect(await t.outbox.stats()).toMatchObject({ pending: 1 })
  })

  test('refuses a payload over the limit with its size, and leaves the transaction usable', async () => {
    await using t = await setupOutbox({ maxPayloadBytes: 10 })
    const blobs = defineChannel('blobs', { payload: z.instanceof(Uint8Array), codec: bytesCodec as never })
    await t.sql.transaction(async (tx) => {
      await expect(t.outbox.add(tx, blobs, new Uint8Array(11))).rejects.toMatchObject({
        code: 'outbox.too_large',
        retryable: false,
        bytes: 11,
        maxBytes: 10,
        destination: 'blobs',
      })
      await t.outbox.add(tx, blobs, new Uint8Array(10))
    })
    expect(await t.outbox.stats()).toMatchObject({ pending: 1 })
  })

  test('refuses a NUL where PostgreSQL cannot store one, naming the field', async () => {
    await using t = await setupOutbox()
    await t.sql.transaction(async (tx) => {
      await expect(t.outbox.addEncoded(tx, [message('a', 'k\0')])).rejects.toMatchObject({
        code: 'outbox.text',
        field: 'key',
      })
      await expect(t.outbox.addEncoded(tx, [message('b\0')])).rejects.toMatchObject({ field: 'id' })
    })
    expect(await t.outbox.stats()).toMatchObject({ pending: 0 })
  })

  test('keeps the order of messages added together', async () => {
    await using t = await setupOutbox()
    const ids = Array.from({ length: 300 }, (_, i) => `m${i}`)
    await t.sql.transaction((tx) =>
      t.outbox.addEncoded(
        tx,
        ids.map((id) => message(id)),
      ),
    )
    await t.relay().start()
    await until(() => t.publisher.confirmed.length === 300, 'published')
    expect(t.publisher.ids).toEqual(ids)
  })

  test('adds nothing for an empty list', async () => {
    await using t = await setupOutbox()
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, []))
    expect(await t.outbox.stats()).toEqual({ pending: 0, oldestAgeMs: 0, blockedKeys: 0, parked: 0 })
  })

  test('reports additions after the commit, with their partitions, and not after a rollback', async () => {
    await using t = await setupOutbox({ partitions: 8 })
    const heard: number[][] = []
    const stop = t.outbox.onAdded((partitions) => heard.push([...partitions]))
    await t.sql.transaction(async (tx) => {
      await t.outbox.addEncoded(tx, [message('a', 'k1'), message('b', 'k1')])
      expect(heard).toEqual([])
    })
    expect(heard).toHaveLength(1)
    expect(heard[0]).toHaveLength(1)
    const failed = t.sql.transaction(async (tx) => {
      await t.outbox.addEncoded(tx, [message('c')])
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    stop()
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('d')]))
    expect(heard).toHaveLength(1)
  })
})

describe('partitions', () => {
  test('another number than the tables were made with is refused by migrate, by start and by add', async () => {
    await using t = await setupOutbox({ partitions: 2 })
    const other = createOutbox({ sql: t.sql, service: 'orders', schema: t.outbox.schema, partitions: 3 })
    const refusal = { code: 'outbox.partitions', configured: 3 }
    await expect(other.migrate()).rejects.toMatchObject({ ...refusal, stored: 2 })
    await expect(t.relay({ outbox: other }).start()).rejects.toMatchObject({ ...refusal, stored: 2 })
    await t.sql.transaction(async (tx) => {
      await expect(other.addEncoded(tx, [message('a')])).rejects.toMatchObject(refusal)
    })
    expect(await t.outbox.stats()).toMatchObject({ pending: 0 })
  })

  test('a second migrate changes nothing', async () => {
    await using t = await setupOutbox()
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    await t.outbox.migrate()
    expect(await t.outbox.stats()).toMatchObject({ pending: 1 })
  })
})

test.each([
  [{ service: '' }, 'createOutbox.service'],
  [{ partitions: 0 }, 'createOutbox.partitions'],
  [{ partitions: 1.5 }, 'createOutbox.partitions'],
  [{ maxPayloadBytes: 0 }, 'createOutbox.maxPayloadBytes'],
  [{ notifyEveryMs: -1 }, 'createOutbox.notifyEveryMs'],
  [{ schema: '' }, 'createOutbox.schema: expected 1 to 63 bytes'],
])('the outbox refuses the option %o by name', (options, path) => {
  expect(() => createOutbox({ sql: embedded(), service: 'orders', ...options })).toThrow(path)
})

test('the outbox is a table that the outbox event router of Debezium reads', async () => {
  await using t = await setupOutbox()
  await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'o-1')]))
  const { rows } = await t.sql.query(
    `SELECT id, aggregatetype, aggregateid, type, convert_from(payload, 'UTF8') AS payload FROM "${t.outbox.schema}".outbox`,
  )
  expect(rows).toEqual([
    { id: 'a', aggregatetype: 'orders.placed', aggregateid: 'o-1', type: 'orders.placed', payload: '{"id":"a"}' },
  ])
})
