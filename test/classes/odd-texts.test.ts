/**
 * Texts that UTF-8 or PostgreSQL cannot hold, everywhere a user's text goes into a broker, a row or a log: each is
 * refused by an error that names it, or carried unchanged, and the message after it is handled.
 */
import {
  createBinder,
  defineChannel,
  type EncodedMessage,
  type Inbox,
  redrive,
  sink,
  TransportError,
} from 'concordat/binder'
import { ConcordatError, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const TEXTS: Readonly<Record<string, string>> = {
  'the first half of a surrogate pair': 'a\ud83d',
  'the second half of a surrogate pair': '\ude42b',
  NUL: 'a\0b',
  'a line break and a terminal sequence': 'a\r\n\u001b[2Jb',
  '70 kB of surrogate pairs behind one letter': `x${'\u{1F642}'.repeat(17_500)}`,
}

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(async () => {
  await database.waitReady
  await createInbox({ sql }).migrate()
}, 180_000)
afterAll(() => database.close())

interface Ground {
  readonly open: () => Transport
  readonly inbox?: Inbox
}

const GROUNDS: Readonly<Record<string, () => Ground>> = {
  'the memory transport': () => {
    const broker = memoryBroker()
    return { open: () => memoryTransport({ broker }) }
  },
  'the PostgreSQL transport': () => ({ open: () => postgresTransport({ sql, pollMs: 20 }) }),
  'an inbox': () => {
    const broker = memoryBroker()
    return { open: () => memoryTransport({ broker }), inbox: createInbox({ sql }) }
  },
}

const Payload = z.object({ isOdd: z.boolean(), text: z.string() })
const ordinary = { isOdd: false, text: 'ordinary' }

interface Arrival {
  readonly id: string
  readonly key: string | null
  readonly header: unknown
  readonly text: string
}

/** Service that fails with `error` for the odd text, or records it. */
async function serviceOn({ open, ...ground }: Ground, error?: Error, options: object = {}, names: object = {}) {
  const channel = defineChannel(uniqueName('texts'), { payload: Payload, groups: ['g'] })
  const arrived: Arrival[] = []
  const binding = sink(
    channel,
    { group: 'g', maxAttempts: 2, backoff: { initialMs: 1 }, ...(ground as object), ...options },
    ({ isOdd, text }, { id, key, headers }) => {
      if (isOdd && error !== undefined) throw error
      arrived.push({ id, key, header: headers['tenant'], text })
    },
  )
  const binder = createBinder({ service: 's', transport: open(), bindings: [binding], logger: silentLogger, ...names })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  const status = () => binder.bindings()[0]
  const goesOn = async (): Promise<void> => {
    await binder.send(channel, ordinary, { key: 'k' })
    await until('what comes behind it is handled', () => arrived.some(({ text }) => text === 'ordinary'), 10_000)
  }
  return { channel, binder, arrived, status, goesOn }
}

/** The received text; `undefined` when the message is a dead letter. @throws the refusal's error */
async function sent(ground: Ground, given: { text?: string; id?: string; key?: string; header?: string }) {
  const { channel, binder, arrived, status, goesOn } = await serviceOn(ground)
  const { text = 'odd', id, key = 'k', header } = given
  const headers = header === undefined ? undefined : { tenant: header }
  const isSent = binder.send(channel, { isOdd: true, text }, { id, key, headers })
  await isSent.catch(goesOn)
  await isSent
  await goesOn()
  await until('it has come to its end', () => arrived.length === 2 || status()?.deadLettered === 1, 10_000)
  return arrived.find((each) => each.text !== 'ordinary')
}

/** The dead letter's text. */
async function failed(ground: Ground, error: Error, options: object = {}) {
  const { channel, binder, status, goesOn } = await serviceOn(ground, error, options)
  await binder.send(channel, { isOdd: true, text: 'odd' }, { key: 'k' })
  await goesOn()
  await until('it is a dead letter', () => status()?.deadLettered === 1, 10_000)
  const host = { service: 'ops', logger: silentLogger }
  const { letters } = await redrive({ ...host, transport: ground.open() }, channel, 'g', { dryRun: true })
  const { sent: settled } = await redrive({ ...host, transport: ground.open() }, channel, 'g', { to: 'nowhere' })
  expect([letters.length, settled]).toEqual([1, 1])
  return letters[0]?.error
}

type Place = (ground: Ground, text: string) => Promise<unknown>

/**
 * Places for a text. Each resolves with the text as it arrived, or with `undefined` when the message became a dead
 * letter.
 */
const PLACES: Readonly<Record<string, Place>> = {
  'the id of a message': async (ground, id) => (await sent(ground, { id }))?.id,
  'the key of a message': async (ground, key) => (await sent(ground, { key }))?.key,
  'a header': async (ground, header) => (await sent(ground, { header }))?.header,
  'a payload': async (ground, text) => (await sent(ground, { text }))?.text,
  'the message of an error': async (ground, text) => void (await failed(ground, new Error(text))),
  'name, code and stack of an error': async (ground, text) =>
    void (await failed(ground, Object.assign(new Error('x'), { name: text, code: text, stack: text }))),
  'the message of an error that is tried again later': async (ground, text) =>
    void (await failed(ground, new Error(text), { retry: 'delayed' })),
  'the name of a group': async (ground, group) => (await serviceOn(ground, undefined, { group })).goesOn(),
  'the name of a binding': async (ground, name) => (await serviceOn(ground, undefined, { name })).goesOn(),
  'the name of a service': async (ground, service) => (await serviceOn(ground, undefined, {}, { service })).goesOn(),
  'the name of an instance': async (ground, instance) =>
    (await serviceOn(ground, undefined, {}, { instance: `${instance}${uniqueName('i')}` })).goesOn(),
}

function isTyped(error: unknown): boolean {
  return error instanceof ConcordatError || error instanceof TypeError || error instanceof RangeError
}

/** Outcome of the text: `refused`, or the text that arrived. Any other end fails the test. */
async function endOf(use: Promise<unknown>): Promise<unknown> {
  try {
    return await use
  } catch (error) {
    if (!isTyped(error)) throw error
    return 'refused'
  }
}

describe.each(Object.keys(GROUNDS))('on %s', (on) => {
  describe.each(Object.keys(PLACES))('%s', (where) => {
    test.each(Object.keys(TEXTS))('with %s is refused or carried unchanged, and delays nothing', async (name) => {
      const text = TEXTS[name] as string
      const end = await endOf((PLACES[where] as Place)((GROUNDS[on] as () => Ground)(), text))
      if (end !== undefined) expect(['refused', text]).toContain(end)
    })
  })
})

/** Outbox whose publisher fails with `error` for the odd text. */
async function outboxWith(error?: Error, more: { service?: string; instance?: string } = {}) {
  const { service = 's', instance } = more
  const outbox = createOutbox({ sql, service, schema: uniqueName('outbox'), partitions: 1 })
  await outbox.migrate()
  const published: EncodedMessage[] = []
  const publish = async (messages: readonly EncodedMessage[]) =>
    messages.map((message) => {
      if (error !== undefined && message.key === 'odd')
        return new TransportError({ transport: 'test', kind: 'mismatch', message: error.message, cause: error })
      published.push(message)
      return undefined
    })
  const relay = createRelay({
    outbox,
    publisher: { publish },
    maxAttempts: 1,
    idlePollMs: 20,
    logger: silentLogger,
    ...(instance === undefined ? {} : { instance }),
  })
  onTestFinished(() => relay.close())
  await relay.start()
  const goesOn = async (): Promise<void> => {
    await sql.transaction((tx) => outbox.add(tx, orders, 'ordinary', { key: 'k' }))
    await until('what comes behind it leaves', () => published.some(({ key }) => key === 'k'), 10_000)
  }
  return { outbox, published, goesOn }
}

const orders = defineChannel('orders', { payload: z.string() })

async function added(given: { text?: string; id?: string; key?: string; header?: string }) {
  const { outbox, published, goesOn } = await outboxWith()
  const { text = 'odd', id, key = 'odd', header } = given
  const headers = header === undefined ? undefined : { tenant: header }
  const isAdded = sql.transaction((tx) => outbox.add(tx, orders, text, { id, key, headers }))
  await isAdded.catch(goesOn)
  await isAdded
  await goesOn()
  await until('it leaves', () => published.length === 2, 10_000)
  return published.find((message) => message.key !== 'k')
}

async function parked(text: string) {
  const made = await outboxWith(new Error(text))
  await sql.transaction((tx) => made.outbox.add(tx, orders, 'odd', { key: 'odd', id: 'odd' }))
  await made.goesOn()
  await until('it is parked', async () => (await made.outbox.stats()).parked === 1, 10_000)
  return made
}

const OUTBOX: Readonly<Record<string, (text: string) => Promise<unknown>>> = {
  'the id of a message': async (id) => (await added({ id }))?.id,
  'the key of a message': async (key) => (await added({ key }))?.key,
  'a header': async (header) => (await added({ header }))?.headers['tenant'],
  'a payload': async (text) => JSON.parse(new TextDecoder().decode((await added({ text }))?.body ?? undefined)),
  'the error of a publisher': async (text) => {
    const { outbox } = await parked(text)
    expect(await outbox.parked()).toHaveLength(1)
  },
  'the name and reason of an operator who drops a message': async (text) => {
    const { outbox } = await parked('no')
    expect(await outbox.drop('odd', { by: text, reason: text })).toBe(true)
  },
  'the name and reason of an operator who tries a message again': async (text) => {
    const { outbox } = await parked('no')
    expect(await outbox.retry('odd', { by: text, reason: text })).toBe(true)
  },
  'the id of a message to drop': async (text) => {
    const { outbox } = await parked('no')
    expect(await outbox.drop(text, { by: 'ann', reason: 'gone' })).toBe(false)
  },
  'the name of a service': async (service) => (await outboxWith(undefined, { service })).goesOn(),
  'the name of an instance': async (instance) => (await outboxWith(undefined, { instance })).goesOn(),
}

describe.each(Object.keys(OUTBOX))('in an outbox %s', (where) => {
  test.each(Object.keys(TEXTS))('with %s is refused or carried unchanged, and delays nothing', async (name) => {
    const text = TEXTS[name] as string
    const end = await endOf((OUTBOX[where] as (text: string) => Promise<unknown>)(text))
    if (end !== undefined) expect(['refused', text]).toContain(end)
  })
})
