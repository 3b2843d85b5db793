import { systemClock } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { gate } from '../support/until.ts'
import { message, until } from './support/messages.ts'
import { setupOutbox, useEmbedded } from './support/pglite.ts'

useEmbedded()

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

describe('a destination whose broker is down', () => {
  test('delays no other, with any number of messages waiting for it', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    let isAway = true
    t.publisher.verdict = ({ destination }) => (isAway && destination === 'away' ? 'unavailable' : undefined)
    const waiting = range(120).map((i) => message(`w${i}`, `k${i % 7}`, { destination: 'away' }))
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, waiting))
    const relay = t.relay({ batchSize: 20 })
    await relay.start()
    await until(() => t.publisher.calls.length > 0, 'it has met the outage')
    for (const i of range(3)) {
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message(`h${i}`, 'k', { destination: 'here' })]))
      await until(() => t.publisher.ids.includes(`h${i}`), `the healthy one has left (${i})`)
    }
    expect(relay.health()).toMatchObject({ status: 'down', detail: 'unavailable on purpose' })
    expect(await t.outbox.stats()).toMatchObject({ pending: 120, blockedKeys: 0 })
    isAway = false
    await until(() => t.publisher.confirmed.length === 123, 'all have left')
    for (const key of range(7)) {
      const expected = waiting.filter((each) => each.key === `k${key}`).map(({ id }) => id)
      expect(
        t.publisher.confirmed.filter((m) => m.destination === 'away' && m.key === `k${key}`).map((m) => m.id),
      ).toEqual(expected)
    }
    await until(() => relay.health().status === 'up', 'it is up')
  })

  test('hides no message that another process adds for another destination', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    let aheadMs = 0
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs }
    t.publisher.verdict = ({ destination }) => (destination === 'away' ? 'unavailable' : undefined)
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'k', { destination: 'away' })]))
    await t.relay({ clock }).start()
    await until(() => t.publisher.calls.length > 0, 'it has met the outage')
    const other = createOutbox({ sql: t.sql, service: 'orders', schema: t.outbox.schema, partitions: 1 })
    for (const id of ['h1', 'h2']) {
      // The next pass over the backlog is due.
      aheadMs += 10_000
      await t.sql.transaction((tx) => other.addEncoded(tx, [message(id, 'k', { destination: 'here' })]))
      await until(() => t.publisher.ids.includes(id), `the message of the other process has left (${id})`)
    }
  })

  test('that refuses its next message when it is back is back anyway: the message is held like any other', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    let verdict: 'unavailable' | 'too_large' = 'unavailable'
    t.publisher.verdict = ({ id }) => (id === 'bad' || verdict === 'unavailable' ? verdict : undefined)
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('bad', 'a'), message('good', 'b')]))
    await t.relay().start()
    await until(() => t.publisher.calls.length > 0, 'it has met the outage')
    verdict = 'too_large'
    await until(() => t.publisher.ids.includes('good'), 'the good one has left')
    await until(async () => (await t.outbox.parked()).length === 1, 'the bad one is parked')
  })

  test('is given up with the partition: a relay that closes ends at once', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    t.publisher.verdict = () => 'unavailable'
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    const relay = t.relay()
    await relay.start()
    await until(() => t.publisher.calls.length > 1, 'it has tried again')
    const since = performance.now()
    await relay.close()
    await expectWithin(performance.now() - since, 5_000)
    expect((await t.outbox.stats()).pending).toBe(1)
  })

  test('holds up no other while it gives no answer, and keeps its own order when it does', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const answers = gate()
    t.publisher.before = ([first]) => (first?.destination === 'mute' ? answers.opened : Promise.resolve())
    const mute = range(30).map((i) => message(`m${i}`, `k${i % 3}`, { destination: 'mute' }))
    const here = range(30).map((i) => message(`h${i}`, `k${i % 3}`, { destination: 'here' }))
    await t.sql.transaction((tx) =>
      t.outbox.addEncoded(
        tx,
        mute.flatMap((each, i) => [each, here[i] as typeof each]),
      ),
    )
    const relay = t.relay({ batchSize: 20 })
    await relay.start()
    await until(() => t.publisher.ids.length === 30, 'those of the other destination have left', 20_000)
    for (const i of range(3)) {
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message(`later${i}`, 'k', { destination: 'here' })]))
      await until(() => t.publisher.ids.includes(`later${i}`), `a later one has left (${i})`)
    }
    answers.open()
    await until(() => t.publisher.ids.length === 63, 'all have left')
    expect(t.publisher.confirmed).toHaveLength(63)
    for (const key of range(3)) {
      const ids = t.publisher.confirmed
        .filter((m) => m.destination === 'mute' && m.key === `k${key}`)
        .map(({ id }) => id)
      expect(ids).toEqual(mute.filter((m) => m.key === `k${key}`).map(({ id }) => id))
    }
    await until(() => relay.health().status === 'up', 'it is up')
  })

  test('holds up no other for the bytes of calls that were answered since', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    let answers = gate()
    t.publisher.before = ([first]) => (first?.destination === 'mute' ? answers.opened : Promise.resolve())
    const body = new Uint8Array(100)
    // Calls without an answer hold 160 bytes at most.
    await t.relay({ batchBytes: 10 }).start()
    for (const n of [1, 2]) {
      answers = gate()
      const added = [
        message(`m${n}`, 'k', { destination: 'mute', body }),
        message(`h${n}`, 'k', { destination: 'here' }),
      ]
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, added))
      await until(() => t.publisher.ids.includes(`h${n}`), `that of the other destination has left (${n})`, 10_000)
      answers.open()
      await until(() => t.publisher.ids.includes(`m${n}`), `its answer has come (${n})`)
    }
  })

  test('keeps its partition from no other destination while another relay waits for it', async () => {
    await using t = await setupOutbox({ partitions: 2 })
    const answers = gate()
    const mute = new Set(['mute'])
    t.publisher.before = ([first]) => (mute.has(first?.destination ?? '') ? answers.opened : Promise.resolve())
    const keys = range(8).map((i) => `k${i}`)
    const add = (destination: string, round: number): Promise<unknown> =>
      t.sql.transaction((tx) =>
        t.outbox.addEncoded(
          tx,
          keys.map((key) => message(`${destination}-${key}-${round}`, key, { destination })),
        ),
      )
    await add('mute', 0)
    await add('here', 0)
    const [first, second] = [t.relay(), t.relay()]
    await first.start()
    await until(() => t.publisher.ids.length === 8, 'those of the other destination have left')
    await second.start()
    await until(() => first.health().relays === 2, 'it knows of the other relay')
    for (const round of range(3).map((i) => i + 1)) {
      await add('mute', round)
      if (round === 2) {
        mute.add('mute-later')
        await add('mute-later', round)
      }
      await add('here', round)
      await until(() => t.publisher.ids.length === 8 * (round + 1), `later ones have left (${round})`, 8_000)
    }
    expect(second.health().partitions).toEqual([])
    answers.open()
    await until(() => second.health().partitions.length === 1, 'the other relay has its share')
    await until(() => t.publisher.ids.length === 72, 'all have left')
    for (const key of keys) {
      const ids = t.publisher.ids.filter((id) => id.startsWith(`mute-${key}`))
      expect(ids).toEqual(range(4).map((round) => `mute-${key}-${round}`))
    }
  })

  test('that answers late is away when the answer is an outage, and any other refusal is the last of its message', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const answers = gate()
    let isAway = true
    t.publisher.before = ([first]) => (first?.destination === 'here' ? Promise.resolve() : answers.opened)
    t.publisher.verdict = ({ destination }) =>
      destination === 'strict' ? 'too_large' : isAway && destination === 'away' ? 'unavailable' : undefined
    const added = ['away', 'strict', 'here'].map((destination) => message(destination, 'k', { destination }))
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, added))
    const relay = t.relay()
    await relay.start()
    await until(async () => (await t.outbox.stats()).pending === 2, 'the answers of the others are late')
    answers.open()
    await until(() => relay.health().detail === 'unavailable on purpose', 'it is away')
    await until(async () => (await t.outbox.parked()).length === 1, 'the refused message is parked')
    expect(t.publisher.calls.flat().filter(({ id }) => id === 'strict')).toHaveLength(1)
    isAway = false
    await until(() => t.publisher.ids.includes('away'), 'it is back')
    // Not `up`: the parked message may have been noticed by now.
    await until(() => relay.health().detail !== 'unavailable on purpose', 'its health says so')
  })

  test('is settled when its answer comes while the relay closes: nothing leaves twice', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const answers = gate()
    t.publisher.before = ([first]) => (first?.destination === 'mute' ? answers.opened : Promise.resolve())
    await t.sql.transaction((tx) =>
      t.outbox.addEncoded(tx, [message('m', 'k', { destination: 'mute' }), message('h', 'k', { destination: 'here' })]),
    )
    const relay = t.relay()
    await relay.start()
    await until(() => t.publisher.ids.includes('h'), 'the other one has left')
    await until(async () => (await t.outbox.stats()).pending === 1, 'the other one is settled', 20_000)
    const closed = relay.close()
    answers.open()
    await closed
    expect((await t.outbox.stats()).pending).toBe(0)
    expect(t.publisher.ids).toEqual(['h', 'm'])
  })

  test.each(['unavailable', 'mute'] as const)('delays no other when 150 of them are down (%s)', async (how) => {
    await using t = await setupOutbox({ partitions: 1 })
    const answers = gate()
    let isAway = true
    const isOfAway = (destination: string | undefined): boolean => destination?.startsWith('away') === true
    if (how === 'mute')
      t.publisher.before = ([first]) => (isOfAway(first?.destination) ? answers.opened : Promise.resolve())
    else t.publisher.verdict = ({ destination }) => (isAway && isOfAway(destination) ? 'unavailable' : undefined)
    const waiting = range(150).map((i) => message(`w${i}`, 'k', { destination: `away${i}` }))
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, waiting))
    const relay = t.relay()
    await relay.start()
    if (how === 'unavailable') await until(() => t.publisher.calls.length >= 150, 'it has met all of them')
    for (const i of range(3)) {
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message(`h${i}`, 'k', { destination: 'here' })]))
      await until(() => t.publisher.ids.includes(`h${i}`), `the healthy one has left (${i})`, 5_000)
    }
    isAway = false
    answers.open()
    await until(() => t.publisher.confirmed.length === 153, 'all have left')
  })
})
