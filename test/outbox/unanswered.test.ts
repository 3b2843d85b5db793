// oxlint-disable no-restricted-imports -- inside of the outbox: a lease whose release has no answer
import { type EncodedMessage, TransportError } from 'concordat/binder'
import { type Clock, type SqlClient, systemClock } from 'concordat/core'
import type { PublishOutcome } from 'concordat/extension'
import { createOutbox } from 'concordat/outbox'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type HeldLease, LeaseKeeper } from '../../outbox/lease.ts'
import { outboxTables } from '../../outbox/tables.ts'
import type { RelayPublisher } from '../support/inside/outbox.ts'
import { LogLines } from '../support/log-lines.ts'
import { gate } from '../support/until.ts'
import { message, until } from './support/messages.ts'
import { setupOutbox, useEmbedded } from './support/pglite.ts'

useEmbedded()

/** The system's clock, which can be set ahead. */
function clockAhead() {
  let aheadMs = 0
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() + aheadMs,
    monotonic: () => systemClock.monotonic() + aheadMs,
  }
  return { clock, ahead: (ms: number) => void (aheadMs += ms) }
}

const publisherOf = (publish: (messages: readonly EncodedMessage[]) => unknown): RelayPublisher => ({
  publish: publish as RelayPublisher['publish'],
})

describe('a publisher that breaks its contract', () => {
  const CONTRACT = 'undefined for each message that the broker has confirmed and a TransportError for any other'
  const LIST = `createRelay.publisher.publish: expected a promise of an array of 1: ${CONTRACT}, got`
  const ENTRY = `createRelay.publisher.publish: expected an array of outcomes: ${CONTRACT}, got`
  const madeUp = Object.assign(new TransportError({ transport: 't', kind: 'refused', message: 'x' }), { kind: 'no' })

  test.each<readonly [what: string, gives: () => unknown, said: string]>([
    ['nothing', async () => undefined, `${LIST} undefined`],
    ['fewer outcomes than messages', async () => [], `${LIST} an array of 0`],
    ['more outcomes than messages', async () => [undefined, undefined], `${LIST} an array of 2`],
    ['a value without a promise', () => 5, `${LIST} a number`],
    ['null for a message', async () => [null], `${ENTRY} null`],
    ['false for a message', async () => [false], `${ENTRY} a boolean`],
    ['an empty object for a message', async () => [{}], `${ENTRY} another object`],
    ['an array with a hole', async () => Array.from({ length: 1 }).fill('sent'), `${ENTRY} a string`],
    ['an error of another kind', async () => [new Error('plain')], `${ENTRY} an instance of Error`],
    ['an error of a kind that is made up', async () => [madeUp], `${ENTRY} an instance of TransportError`],
    ['an exception', () => expect.fail('thrown'), 'the publisher rejected: thrown'],
    ['a rejection', async () => expect.fail('rejected'), 'the publisher rejected: rejected'],
  ])('that gives %s has sent nothing: the message stays and goes out later', async (_, gives, said) => {
    await using t = await setupOutbox({ partitions: 1 })
    const log = new LogLines()
    let keeps = false
    const publisher = publisherOf((messages) => (keeps ? t.publisher.publish(messages) : gives()))
    const relay = t.relay({ publisher, logger: log.logger })
    await relay.start()
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    await until(() => relay.health().status === 'down', 'it is told')
    expect(relay.health()).toMatchObject({ detail: said, published: 0 })
    expect(log.text).toContain(said)
    expect(await t.outbox.stats()).toMatchObject({ pending: 1, parked: 0 })
    keeps = true
    await until(() => relay.health().published === 1, 'it is published')
    expect(t.publisher.ids).toEqual(['a'])
    await until(() => relay.health().status === 'up', 'it is up')
  })

  test('a publisher with one invalid outcome has sent the messages that it has confirmed', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const publisher = publisherOf(async (messages) => {
      const outcomes: PublishOutcome[] = [...(await t.publisher.publish(messages.slice(0, 1)))]
      return messages.map((_, n) => (n === 0 ? outcomes[0] : 'sent'))
    })
    const relay = t.relay({ publisher })
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'x'), message('b', 'y')]))
    await relay.start()
    await until(() => t.publisher.confirmed.length === 2, 'each was first in a call')
    expect(new Set(t.publisher.ids)).toEqual(new Set(['a', 'b']))
  })
})

describe('work without an answer', () => {
  test('a publisher that never settles makes the relay down within ten seconds, and up when it settles', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const { clock, ahead } = clockAhead()
    const called = gate()
    const settled = gate()
    onTestFinished(settled.open)
    t.publisher.before = () => {
      called.open()
      return settled.opened
    }
    const relay = t.relay({ clock, leaseMs: 60_000 })
    await relay.start()
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    await called.opened
    expect(relay.health().status).toBe('up')
    ahead(9_000)
    expect(relay.health()).toMatchObject({
      status: 'down',
      detail: 'no answer for 9 s while trying to publish: the promise of createRelay.publisher.publish has not settled',
    })
    settled.open()
    await until(() => relay.health().published === 1, 'it is published')
    expect(relay.health().status).toBe('up')
  })

  test.each([
    ['_window(', 'fetch messages of the outbox'],
    ['_confirm(', 'delete confirmed messages of the outbox'],
  ])('a statement with %s that waits makes the relay down, though its leases are renewed', async (text, what) => {
    await using t = await setupOutbox({ partitions: 1 })
    const { clock, ahead } = clockAhead()
    const hangs = gate()
    const answered = gate()
    onTestFinished(answered.open)
    const held: SqlClient = {
      ...t.sql,
      query: async (statement, parameters) => {
        // The poll of an idle partition continues.
        if (statement.includes(text) && !statement.includes('isPending')) {
          hangs.open()
          await answered.opened
        }
        return t.sql.query(statement, parameters)
      },
    }
    const outbox = Object.assign(Object.create(t.outbox) as typeof t.outbox, { sql: held })
    const relay = t.relay({ outbox, clock, leaseMs: 60_000 })
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    await relay.start()
    await hangs.opened
    for (let n = 0; n < 9; n++) {
      ahead(1_000)
      await clock.sleep(5)
    }
    expect(relay.health()).toMatchObject({ status: 'down', detail: `no answer for 9 s while trying to ${what}` })
    answered.open()
    await until(() => relay.health().status === 'up' && relay.health().published === 1, 'it is published')
  })
})

describe('a statement that never gets an answer', () => {
  /** Client whose first statement with `text` after `begin` never settles, as on a connection that died silently. */
  function silent(sql: SqlClient, text: string) {
    let state: 'whole' | 'begun' | 'lost' = 'whole'
    const query: SqlClient['query'] = (statement, parameters) => {
      if (state !== 'begun' || !statement.includes(text)) return sql.query(statement, parameters)
      state = 'lost'
      return new Promise(() => {})
    }
    return { sql: { ...sql, query }, begin: () => void (state = 'begun'), isLost: () => state === 'lost' }
  }

  test.each([
    ['check of the tables', 'SELECT partitions, service'],
    ['first renewal', 'AS live'],
    ['claim of partitions', 'SKIP LOCKED'],
    ['look for parked messages', 'parked_at LIMIT 1'],
  ])('(the %s) lets start resolve, and messages leave within two leases', { timeout: 20_000 }, async (_, text) => {
    await using t = await setupOutbox({ partitions: 1 })
    const link = silent(t.sql, text)
    const outbox = Object.assign(Object.create(t.outbox) as typeof t.outbox, { sql: link.sql })
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a')]))
    const relay = t.relay({ outbox, leaseMs: 2_000 })
    link.begin()
    await relay.start()
    expect(link.isLost()).toBe(true)
    await until(() => t.publisher.ids.includes('a'), 'it is published', 4_000)
    await until(() => relay.health().status === 'up', 'it is up')
  })

  test.each([
    ['renewal', 'AS live'],
    ['fetch', 'AS age_ms'],
    ['deletion of published messages', '_confirm('],
    ['record of failed messages', '_hold('],
    ['look for messages', '"isPending"'],
  ])('(the %s) holds up messages for two leases at most', { timeout: 20_000 }, async (_, text) => {
    await using t = await setupOutbox({ partitions: 1 })
    const link = silent(t.sql, text)
    const outbox = Object.assign(Object.create(t.outbox) as typeof t.outbox, { sql: link.sql })
    t.publisher.verdict = (_message, tries) => (tries === 1 ? 'refused' : undefined)
    const relay = t.relay({ outbox, leaseMs: 2_000 })
    await relay.start()
    link.begin()
    // Added by another process: nothing wakes the relay.
    const other = createOutbox({ sql: t.sql, service: 'orders', schema: t.outbox.schema, partitions: 1 })
    const add = (id: string): Promise<void> => t.sql.transaction((tx) => other.addEncoded(tx, [message(id)]))
    await add('a')
    await until(link.isLost, 'a statement has no answer')
    const since = performance.now()
    await until(() => performance.now() - since > 2_000, 'the lease of that moment is over')
    await add('b')
    await until(() => t.publisher.ids.includes('b'), 'both are published', 4_000)
    expect(t.publisher.ids).toEqual(['a', 'b'])
    await until(() => relay.health().status === 'up', 'it is up')
  })
})

test('a message of an unavailable destination that is fetched for too long is not sent before the lease is renewed', async () => {
  await using t = await setupOutbox({ partitions: 1 })
  const { clock, ahead } = clockAhead()
  const seen: string[] = []
  let isAway = true
  const query = async <Row extends object>(text: string, parameters?: readonly unknown[]) => {
    const result = await t.sql.query<Row>(text, parameters)
    if (text.includes('AS live') && seen.length > 0) seen.push('renewed')
    const isTrial = text.includes('AS age_ms') && parameters?.at(-1) === 'away'
    if (!isTrial || isAway || seen.length > 0) return result
    ahead(60_000)
    seen.push('fetched late')
    return result
  }
  const outbox = Object.assign(Object.create(t.outbox) as typeof t.outbox, { sql: { ...t.sql, query } })
  t.publisher.verdict = () => (isAway ? 'unavailable' : (seen.push('sent'), undefined))
  await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'k', { destination: 'away' })]))
  await t.relay({ outbox, clock, leaseMs: 60_000 }).start()
  await until(() => t.publisher.calls.length > 0, 'it has met the outage')
  isAway = false
  await until(() => t.publisher.ids.includes('a'), 'it is published')
  expect(seen).toEqual(['fetched late', 'renewed', 'sent'])
})

test('a release without an answer is repeated, because the server may free the partition at any later time', async () => {
  await using t = await setupOutbox({ partitions: 1 })
  let answers = false
  const query: SqlClient['query'] = (text, parameters) =>
    answers || !text.includes('owner = NULL') ? t.sql.query(text, parameters) : Promise.reject(new Error('no answer'))
  const tables = outboxTables(t.outbox.schema)
  const sql: SqlClient = { ...t.sql, query, exclusive: undefined }
  const times = { leaseMs: 60_000, longestPauseMs: 60_000, clock: systemClock }
  const keeper = new LeaseKeeper({ sql, tables, instance: 'a', ...times })
  await keeper.claim(1)
  const [lease] = keeper.held as readonly [HeldLease]
  await expect(keeper.release(lease)).rejects.toThrow('no answer')
  await expect(keeper.renew()).rejects.toThrow('no answer')
  expect(keeper.held).toEqual([])
  answers = true
  await keeper.renew()
  expect(keeper.held).toEqual([])
  const { rows } = await t.sql.query(`SELECT owner FROM ${tables.lease}`)
  expect(rows).toEqual([{ owner: null }])
})

test('a lease that a write found lost, as while a database failed over, is held anew when the database has it still', async () => {
  await using t = await setupOutbox({ partitions: 1 })
  const tables = outboxTables(t.outbox.schema)
  const times = { leaseMs: 60_000, longestPauseMs: 60_000, clock: systemClock }
  const keeper = new LeaseKeeper({ sql: t.sql, tables, instance: 'a', ...times })
  await keeper.claim(1)
  keeper.held[0]?.lose()
  await keeper.renew()
  expect(keeper.held.map((lease) => lease.isValid())).toEqual([true])
})
