/** An outbox on bad days: a broker that is down, more than fits a window, rows of other programs, an operator. */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import {
  combineTransports,
  createBinder,
  defineChannel,
  type EncodedMessage,
  sink,
  TransportError,
} from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { hasCode } from 'concordat/core'
import type { PublishOutcome, Transport } from 'concordat/extension'
import { memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import { z } from 'zod'
import type { RelayPublisher } from '../../support/inside/outbox.ts'
import { persist } from '../persist.ts'
import { override } from '../planted.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const Line = z.object({ key: z.string(), n: z.number().int(), text: z.string() })
type Line = z.infer<typeof Line>
const channelOf = (name: string) =>
  defineChannel(name, { payload: Line, key: ({ key }) => key, groups: ['audit'], partitions: 1, tombstones: true })
const lines = channelOf('lines')
const mails = channelOf('mails')
/** Channel on the broker that is down. */
const afar = channelOf('afar')

const WINDOW_ROWS = 8
const WINDOW_BYTES = 4_000
const BIG = 'x'.repeat(1_000)
const RELAY = { batchSize: WINDOW_ROWS, batchBytes: WINDOW_BYTES, leaseMs: 2_000, idlePollMs: 500 }
/** The number of a tombstone: it is the last of its key. */
const LAST = 99
const TWIN = 'twin'

/** State of the world that is in no database. */
class Known {
  /** Numbers that arrived for each destination and key, each at its first time. */
  readonly heard = new Map<string, number[]>()
  /** Messages of other services that each service gave to its broker. */
  readonly strayed: string[] = []
  accepted = 0
  afar = 0
  isAway = true
  refusesTwins = true

  hear(destination: string, { key, body }: Pick<EncodedMessage, 'key' | 'body'>): void {
    const place = `${destination}/${key}`
    const n = body === null ? LAST : Line.parse(JSON.parse(new TextDecoder().decode(body))).n
    const before = this.heard.get(place) ?? []
    if (!before.includes(n)) this.heard.set(place, [...before, n])
  }
}
let known = new Known()

const unavailable = (kind: 'unavailable' | 'too_large'): TransportError =>
  new TransportError({ transport: 'memory', kind, message: `the broker says ${kind}` })

/** Broker that accepts nothing while it is down. */
function awayBroker(): Transport {
  return override(memoryTransport(), {
    publish: (messages) => {
      if (known.isAway) return Promise.resolve(messages.map(() => unavailable('unavailable')))
      for (const message of messages) known.hear(message.destination, message)
      return Promise.resolve(messages.map(() => undefined))
    },
  })
}

/** Publisher that watches the messages of a service's relay, and refuses the twins until they may pass. */
function watched(service: string, publisher: RelayPublisher): RelayPublisher {
  return {
    publish: async (messages) => {
      for (const { id, source } of messages)
        if (source !== service) known.strayed.push(`${id} of ${source} by ${service}`)
      const isRefused = ({ id }: EncodedMessage): boolean => known.refusesTwins && id === TWIN
      const outcomes: PublishOutcome[] = [...(await publisher.publish(messages.filter((each) => !isRefused(each))))]
      return messages.map((each) => (isRefused(each) ? unavailable('too_large') : outcomes.shift()))
    },
  }
}

async function startShop(instance: SimulatedInstance, service: string): Promise<void> {
  const { logger } = instance
  const outbox = createOutbox({ sql: instance.sql('shop'), service, partitions: 1 })
  const transports = { here: instance.transport, afar: awayBroker() }
  const transport = combineTransports({ transports, of: { afar: 'afar' }, default: 'here' })
  const binder = createBinder({ service, transport, logger, sends: [lines, mails, afar] })
  await binder.start()
  await createRelay({ ...RELAY, outbox, publisher: watched(service, binder), logger }).start()
}

async function startAudit({ transport, logger }: SimulatedInstance): Promise<void> {
  const options = { group: 'audit', concurrency: 4 }
  const bindings = [lines, mails].map((channel) =>
    sink(channel, options, (line, { key }) => {
      const n = line?.n ?? LAST
      known.hear(channel.name, { key, body: new TextEncoder().encode(JSON.stringify(line ?? { key, n, text: '' })) })
    }),
  )
  await createBinder({ service: 'audit', transport, logger, bindings }).start()
}

/** Takes the tables for its own. */
async function startStranger(instance: SimulatedInstance): Promise<void> {
  const sql = instance.sql('shop')
  const outbox = createOutbox({ sql, service: 'stranger', partitions: 1 })
  for (let n = 1; n <= 3; n++) {
    await sql.transaction((tx) => outbox.add(tx, lines, { key: 'strange', n, text: '' })).catch(() => {})
    await new Promise((resolve) => void setTimeout(resolve, 1_000))
  }
}

class Shop {
  readonly #world: SimulatedWorld
  readonly #sql: SqlClient
  readonly #outbox: Outbox

  constructor(world: SimulatedWorld) {
    this.#world = world
    this.#sql = world.client.sql('shop')
    this.#outbox = createOutbox({ sql: this.#sql, service: 'shop', partitions: 1 })
  }

  /** Once, however often it has to be asked: a mark is written with it. */
  once(mark: string, work: (tx: SqlTransaction) => Promise<unknown>): Promise<void> {
    return persist(this.#world, () =>
      this.#sql.transaction(async (tx) => {
        const { rowCount } = await tx.query('INSERT INTO done (mark) VALUES ($1) ON CONFLICT DO NOTHING', [mark])
        if (rowCount === 1) await work(tx)
      }),
    )
  }

  async add(tx: SqlTransaction, key: string, n: number, text = ''): Promise<void> {
    await this.#outbox.add(tx, lines, n === LAST ? null : { key, n, text }, { key })
  }

  /** More bytes than a window takes, then a small value and a tombstone of one key. */
  async delete(key: string): Promise<void> {
    await this.once(`delete ${key}`, async (tx) => {
      for (let n = 1; n <= 5; n++) await this.add(tx, `${key}-big-${n}`, 1, BIG)
      await this.add(tx, key, 1)
      await this.add(tx, key, LAST)
    })
  }

  /** Adds more rows for the broker that is down than a window takes, then some for the one that is up. */
  async queue(): Promise<void> {
    await this.once('queue', async (tx) => {
      for (let n = 1; n <= WINDOW_ROWS + 2; n++)
        await this.#outbox.add(tx, afar, { key: `k${n % 5}`, n, text: '' }, { key: `k${n % 5}` })
    })
    known.afar = WINDOW_ROWS + 2
  }

  /** Two messages have one id, and the operator gives up one of them. */
  async addTwins(): Promise<void> {
    for (const channel of [lines, mails])
      await this.once(`twin ${channel.name}`, (tx) =>
        this.#outbox.add(tx, channel, { key: TWIN, n: 1, text: '' }, { id: TWIN }),
      )
  }

  async dropOneTwin(): Promise<void> {
    const { client } = this.#world
    const reason = { by: 'operator', reason: 'it was wrong' }
    const ask = <T>(work: () => Promise<T>): Promise<T> => persist(this.#world, work)
    while ((await ask(() => this.#outbox.parked())).filter(({ message }) => message.id === TWIN).length < 2)
      await this.#world.sleep(500)
    try {
      await this.#outbox.drop(TWIN, reason)
    } catch (error) {
      client.note(hasCode(error, 'outbox.ambiguous') ? 'there are two' : 'the database is away')
      await ask(() => this.#outbox.drop({ id: TWIN, destination: lines.name }, reason))
    }
    known.refusesTwins = false
    await ask(() => this.#outbox.retry({ id: TWIN, destination: mails.name }))
  }

  /** Written by a program that knows nothing of headers. */
  async addUnreadable(): Promise<void> {
    await this.once('unreadable', (tx) =>
      tx.query(
        `INSERT INTO concordat.outbox (partition, id, aggregatetype, aggregateid, type, payload, source, content_type, headers, time)
         VALUES (0, 'odd', 'lines', 'odd', 'lines', NULL, 'shop', 'application/json', 'null', 0)`,
      ),
    )
  }
}

async function sell(world: SimulatedWorld): Promise<void> {
  known = new Known()
  const shop = new Shop(world)
  await shop.addTwins()
  await shop.queue()
  await shop.addUnreadable()
  for (let n = 1; n <= world.size; n++) {
    await shop.once(`line ${n}`, (tx) => shop.add(tx, 'ann', n))
    await world.sleep(world.between(0, 1_000))
    await shop.delete(`gone-${n}`)
    known.accepted = n
  }
  await shop.dropOneTwin()
}

const hasAll = (place: string, count: number): boolean => (known.heard.get(place)?.length ?? 0) >= count

/** Whether the rest is settled while one broker is still down. */
function isSettled(): boolean {
  const isGone = Array.from({ length: known.accepted }, (_, n) => hasAll(`lines/gone-${n + 1}`, 2))
  return hasAll('lines/ann', known.accepted) && isGone.every(Boolean)
}

function requireOrder(): void {
  for (const [place, numbers] of known.heard) {
    const late = numbers.findIndex((n, index) => index > 0 && n < (numbers[index - 1] ?? 0))
    if (late > 0) throw new Error(`of "${place}" came ${numbers.join(', ')}`)
  }
}

async function requireTwin(world: SimulatedWorld): Promise<void> {
  // A poll of the relay that was delayed at the end of the faults runs for ten seconds.
  for (let waitedMs = 0; waitedMs < 15_000 && !hasAll(`mails/${TWIN}`, 1); waitedMs += 1_000) await world.sleep(1_000)
  if (!hasAll(`mails/${TWIN}`, 1)) throw new Error('the twin that nobody gave up never came')
}

function requireOwn(): void {
  if (known.strayed.length > 0) throw new Error(known.strayed.join(', '))
}

async function requireAfar(world: SimulatedWorld): Promise<void> {
  known.isAway = false
  await world.sleep(15_000)
  const came = [...known.heard].filter(([place]) => place.startsWith('afar/')).flatMap(([, numbers]) => numbers)
  if (came.length !== known.afar) throw new Error(`${came.length} of ${known.afar} messages came`)
}

async function prepare(sql: SqlClient): Promise<void> {
  await createOutbox({ sql, service: 'shop', partitions: 1 }).migrate()
  await sql.query('CREATE TABLE IF NOT EXISTS done (mark text PRIMARY KEY)')
}

export const backlog: Workload = {
  about:
    'an outbox with a broker that is away, more than fits a window, and rows of others: nothing waits for what is away',
  mistakes: {},
  databases: ['shop'],
  size: 3,
  options: (setting: Setting) => ({
    services: {
      shop: { start: (instance) => startShop(instance, 'shop') },
      stranger: { instances: 1, start: startStranger },
      audit: { instances: 1, start: startAudit },
    },
    databases: { shop: { ...databaseOf(setting, 'shop'), prepare } },
    workload: sell,
    settled: isSettled,
    invariants: {
      'in order': requireOrder,
      'what nobody gave up comes': requireTwin,
      'each sends its own': requireOwn,
      'what was away comes': requireAfar,
    },
  }),
}
