import { type SqlClient, systemClock } from 'concordat/core'
import { describe, expect, test } from 'vitest'
import { message, until } from '../outbox/support/messages.ts'
import { type OutboxSetup, setupOutboxOn } from '../outbox/support/setup.ts'
import type { TransportErrorKind } from '../support/inside/binder.ts'
import type { OutboxOptions } from '../support/inside/outbox.ts'

/**
 * Behaviour of the outbox on every `SqlClient`: order per key, blocking of a failing key, parking, outages, operator
 * actions. Runs on PGlite and on a server.
 */
export function outboxConformance(open: () => SqlClient): void {
  const setupOutbox = (options: Partial<OutboxOptions>): Promise<OutboxSetup> => setupOutboxOn(open(), options)

  describe('order per key', () => {
    test('never gives two messages of one key to one publish call', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      const added = Array.from({ length: 30 }, (_, i) => message(`m${i}`, `k${i % 3}`))
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, added))
      await t.relay().start()
      await until(() => t.publisher.confirmed.length === 30, 'published')
      for (const call of t.publisher.calls) expect(new Set(call.map((m) => m.key)).size).toBe(call.length)
      expect(t.publisher.idsOf('k1')).toEqual(added.filter((m) => m.key === 'k1').map((m) => m.id))
    })

    test('a key with a backlog does not keep the others waiting', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      const hot = Array.from({ length: 300 }, (_, i) => message(`hot${i}`, 'hot'))
      const cold = Array.from({ length: 20 }, (_, i) => message(`cold${i}`, `c${i % 5}`))
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [...hot, ...cold]))
      const clock = { ...systemClock, monotonic: () => t.publisher.calls.length * 10 }
      await t.relay({ batchSize: 40, clock }).start()
      await until(() => t.publisher.confirmed.length === 320, 'published')
      expect(t.publisher.idsOf('hot')).toEqual(hot.map((m) => m.id))
      for (let c = 0; c < 5; c++) expect(t.publisher.idsOf(`c${c}`)).toEqual([0, 5, 10, 15].map((i) => `cold${c + i}`))
      const lastCold = Math.max(...cold.map((m) => t.publisher.ids.indexOf(m.id)))
      expect(lastCold).toBeLessThan(100)
    })

    test('a key with a backlog stops at its first failure, over all windows', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      const hot = Array.from({ length: 100 }, (_, i) => message(`hot${i}`, 'hot'))
      t.publisher.verdict = ({ id }, tries) => ((id === 'hot17' || id === 'hot50') && tries < 3 ? 'refused' : undefined)
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [...hot, message('other', 'o')]))
      const clock = { ...systemClock, monotonic: () => t.publisher.calls.length * 10 }
      await t.relay({ batchSize: 40, clock }).start()
      await until(() => t.publisher.confirmed.length === 101, 'published')
      expect(t.publisher.idsOf('hot')).toEqual(hot.map((m) => m.id))
    })

    test('messages without key share a call', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      const added = Array.from({ length: 30 }, (_, i) => message(`m${i}`, null))
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, added))
      await t.relay().start()
      await until(() => t.publisher.confirmed.length === 30, 'published')
      expect(t.publisher.calls).toHaveLength(1)
    })

    test('a window is bounded in bytes, and one message over the bound still leaves', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      const body = new Uint8Array(1_000)
      const added = Array.from({ length: 10 }, (_, i) => message(`m${i}`, null, { body }))
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, added))
      await t.relay({ batchBytes: 500 }).start()
      await until(() => t.publisher.confirmed.length === 10, 'published')
      expect(t.publisher.calls.map((call) => call.length)).toEqual(Array(10).fill(1))
    })

    test('a tombstone beyond the bytes of a window does not overtake the value of its key', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      const body = new Uint8Array(1_000)
      const before = Array.from({ length: 9 }, (_, i) => message(`m${i}`, `k${i}`, { body }))
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [...before, message('value', 'ann')]))
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('tombstone', 'ann', { body: null })]))
      await t.relay({ batchBytes: 8_000 }).start()
      await until(() => t.publisher.confirmed.length === 11, 'published')
      expect(t.publisher.idsOf('ann')).toEqual(['value', 'tombstone'])
    })
  })

  describe('a message that fails', () => {
    test('holds back its key alone, and its later messages follow it', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      let fixed = false
      t.publisher.verdict = ({ id }) => (id === 'a1' && !fixed ? 'refused' : undefined)
      await t.sql.transaction((tx) =>
        t.outbox.addEncoded(tx, [message('a1', 'a'), message('a2', 'a'), message('b1', 'b'), message('b2', 'b')]),
      )
      await t.relay().start()
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a3', 'a'), message('b3', 'b')]))
      await until(() => t.publisher.idsOf('b').length === 3, 'b published')
      await until(() => (t.publisher.tries.get('a1') ?? 0) > 15, 'a1 tried again and again')
      expect(t.publisher.idsOf('a')).toEqual([])
      expect((await t.outbox.stats()).parked).toBe(0)
      fixed = true
      await until(() => t.publisher.idsOf('a').length === 3, 'a published')
      expect(t.publisher.idsOf('a')).toEqual(['a1', 'a2', 'a3'])
      expect(t.publisher.tries.get('a2')).toBe(1)
    })

    test('holds back its key on its own destination only', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      t.publisher.verdict = ({ destination }) => (destination === 'full' ? 'refused' : undefined)
      await t.sql.transaction((tx) =>
        t.outbox.addEncoded(tx, [message('a1', 'a', { destination: 'full' }), message('a2', 'a')]),
      )
      await t.relay().start()
      await until(() => t.publisher.confirmed.length === 1, 'published')
      expect(t.publisher.ids).toEqual(['a2'])
    })

    test('without a key holds back nothing', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      t.publisher.verdict = ({ id }) => (id === 'bad' ? 'too_large' : undefined)
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('bad', null), message('good', null)]))
      await t.relay().start()
      await until(async () => (await t.outbox.stats()).parked === 1, 'parked')
      expect(t.publisher.ids).toEqual(['good'])
      expect(await t.outbox.stats()).toMatchObject({ pending: 1, blockedKeys: 1, parked: 1 })
    })

    test.each<[TransportErrorKind, number]>([
      ['too_large', 1],
      ['unroutable', 3],
      ['mismatch', 3],
    ])('for %s is parked after %i attempts', async (kind, attempts) => {
      await using t = await setupOutbox({ partitions: 1 })
      t.publisher.verdict = ({ id }) => (id === 'bad' ? kind : undefined)
      await t.sql.transaction((tx) =>
        t.outbox.addEncoded(tx, [message('bad', 'a'), message('next', 'a'), message('x', 'b')]),
      )
      await t.relay({ maxAttempts: 3 }).start()
      await until(async () => (await t.outbox.parked()).length === 1, 'parked')
      const [parked] = await t.outbox.parked()
      expect(parked).toMatchObject({
        attempts,
        lastError: `${kind}: ${kind} on purpose`,
        message: { id: 'bad', key: 'a' },
      })
      expect(t.publisher.ids).toEqual(['x'])
    })

    test.each<TransportErrorKind>(['unavailable', 'timeout', 'closed'])(
      'because the broker is down (%s) is neither blamed nor parked',
      async (kind) => {
        await using t = await setupOutbox({ partitions: 1 })
        t.publisher.verdict = (_, tries) => (tries <= 3 ? kind : undefined)
        await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'a'), message('b', 'b')]))
        const relay = t.relay({ maxAttempts: 1 })
        await relay.start()
        await until(() => relay.health().status === 'down', 'down')
        expect(await t.outbox.stats()).toMatchObject({ pending: 2, blockedKeys: 0, parked: 0 })
        await until(() => t.publisher.confirmed.length === 2, 'published')
        await until(() => relay.health().status === 'up', 'up')
      },
    )

    test('while others get through blocks its key, and is not parked for it', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      t.publisher.verdict = ({ key }, tries) => (key === 'a' && tries <= 4 ? 'timeout' : undefined)
      await t.sql.transaction((tx) =>
        t.outbox.addEncoded(tx, [message('a1', 'a'), message('b1', 'b'), message('a2', 'a')]),
      )
      await t.relay({ maxAttempts: 1 }).start()
      await until(() => t.publisher.confirmed.length === 3, 'published')
      expect(t.publisher.ids).toEqual(['b1', 'a1', 'a2'])
    })

    test('because the publisher rejects is tried again', async () => {
      await using t = await setupOutbox({ partitions: 1 })
      let calls = 0
      t.publisher.before = async () => {
        if (++calls <= 2) throw new Error('broken contract')
      }
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'a')]))
      await t.relay().start()
      await until(() => t.publisher.confirmed.length === 1, 'published')
      expect(calls).toBe(3)
    })
  })

  describe('a parked message', () => {
    async function parked() {
      const t = await setupOutbox({ partitions: 1 })
      t.publisher.verdict = ({ id }) => (id === 'bad' ? 'too_large' : undefined)
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('bad', 'a'), message('next', 'a')]))
      await t.relay().start()
      await until(async () => (await t.outbox.parked()).length === 1, 'parked')
      const audit = async (): Promise<readonly unknown[]> =>
        (await t.sql.query(`SELECT action, by, reason, id FROM "${t.outbox.schema}".outbox_audit ORDER BY at`)).rows
      return { ...t, audit }
    }

    test('is published before later messages of its key when retried, with a record', async () => {
      await using t = await parked()
      t.publisher.verdict = () => undefined
      expect(await t.outbox.retry('bad', { by: 'ann', reason: 'limit raised' })).toBe(true)
      await until(() => t.publisher.confirmed.length === 2, 'published')
      expect(t.publisher.ids).toEqual(['bad', 'next'])
      expect(await t.audit()).toEqual([{ action: 'retry', by: 'ann', reason: 'limit raised', id: 'bad' }])
    })

    test('is gone and frees its key when dropped, and is kept in the audit', async () => {
      await using t = await parked()
      expect(await t.outbox.drop('bad', { by: 'ann', reason: 'sent by hand' })).toBe(true)
      await until(() => t.publisher.confirmed.length === 1, 'published')
      expect(t.publisher.ids).toEqual(['next'])
      expect(await t.audit()).toEqual([{ action: 'drop', by: 'ann', reason: 'sent by hand', id: 'bad' }])
      expect(await t.outbox.parked()).toEqual([])
    })

    test('is not dropped without a name and a reason', async () => {
      await using t = await parked()
      await expect(async () => t.outbox.drop('bad', { by: '', reason: 'x' })).rejects.toThrow('outbox.drop.by')
      await expect(async () => t.outbox.drop('bad', { by: 'ann', reason: '' })).rejects.toThrow('outbox.drop.reason')
      expect(await t.outbox.parked()).toHaveLength(1)
    })

    test('a message that never failed can be neither retried nor dropped', async () => {
      await using t = await parked()
      expect(await t.outbox.retry('next')).toBe(false)
      expect(await t.outbox.drop('next', { by: 'ann', reason: 'wrong id' })).toBe(false)
      expect(await t.audit()).toEqual([])
    })
  })
}
