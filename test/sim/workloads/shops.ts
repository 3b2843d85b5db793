/** Two shops with a saga of one name ask one payment service, ids are used again, and a warehouse that said no changes its mind. */

import type { SimulatedInstance, SimulatedWorld } from '@concordat/simulator'
import { createBinder, defineChannel } from 'concordat/binder'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, Refusal, sagaReplies } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { z } from 'zod'
import { persist } from '../persist.ts'
import { databaseOf, type Setting, type Workload } from '../workload.ts'

const SHOPS = ['eu', 'us'] as const
type Shop = (typeof SHOPS)[number]
const Order = z.object({ shop: z.string(), id: z.string(), cents: z.number().int() })
type Order = z.infer<typeof Order>
const channelOf = (name: string) =>
  defineChannel(name, { payload: Order, key: ({ id }) => id, groups: ['payments'], partitions: 1 })
const charges = channelOf('charges')
const shipments = channelOf('shipments')

const PATIENT = { maxAttempts: 1_000, initialMs: 100, maxMs: 1_000 }
const ASKS = { timeoutMs: 2_000, retry: PATIENT }
const RELAY = { leaseMs: 2_000, idlePollMs: 1_000 }
const NOTE = { by: 'operator', reason: 'there is something again' }
/** Limit on an operator's attempts. */
const MOST_RETRIES = 5

const request = ({ input }: { readonly input: Order }): Order => input
const buy = defineSaga('buy', { version: 1, input: Order }).command('charge', {
  ...ASKS,
  compensationRetry: PATIENT,
  to: charges,
  request,
  compensate: true,
})
const deliver = defineSaga('deliver', { version: 1, input: Order })
  .step('decide', { pivot: true, retry: PATIENT, invoke: () => {} })
  .command('ship', { ...ASKS, to: shipments, request })

class Known {
  isSoldOut = true
  /** Orders that were accepted. */
  readonly ordered: Order[] = []
  /** An order repeated under an id whose charge exists. */
  again: { readonly shop: Shop; readonly id: string } | undefined
}
let known = new Known()

async function leave(tx: SqlExecutor, { shop, id, cents }: Order, operation: string): Promise<void> {
  const text = 'INSERT INTO effect (shop, id, cents, operation) VALUES ($1, $2, $3, $4)'
  await tx.query(text, [shop, id, cents, operation])
}

const outboxOf = (sql: SqlClient, service: string) => createOutbox({ sql, service, schema: service, partitions: 1 })

const coordinatorOf = (sql: SqlClient, shop: Shop, more: object = {}): Coordinator => {
  const outbox = outboxOf(sql, shop)
  return createCoordinator({ service: shop, schema: shop, sql, outbox, sagas: [buy, deliver], ...more })
}

async function startShop(shop: Shop, { transport, logger, ...instance }: SimulatedInstance): Promise<void> {
  const sql = instance.sql('home')
  const name = `${instance.name}/${instance.generation}`
  const desk = coordinatorOf(sql, shop, { instance: name, leaseMs: 2_000, pollMs: 1_000, logger })
  const binder = createBinder({ service: shop, transport, logger, bindings: desk.bindings, sends: desk.channels })
  await binder.start()
  await desk.run()
  await createRelay({ ...RELAY, outbox: outboxOf(sql, shop), publisher: binder, logger }).start()
}

async function startPayments({ transport, logger, ...instance }: SimulatedInstance): Promise<void> {
  const sql = instance.sql('home')
  const outbox = outboxOf(sql, 'payments')
  const options = { group: 'payments', sql, outbox, schema: 'payments', effects: 'tx' } as const
  const bindings = [
    participant(charges, options, {
      invoke: (order, { tx }) => leave(tx, order, 'charge'),
      compensate: (order, { tx }) => leave(tx, order, 'refund'),
    }),
    participant(shipments, options, {
      invoke: async (order, { tx }) => {
        if (known.isSoldOut) throw new Refusal('warehouse.sold_out', 'there is nothing left')
        await leave(tx, order, 'ship')
      },
      compensate: () => {},
    }),
  ]
  const sends = SHOPS.map((shop) => sagaReplies(shop))
  const binder = createBinder({ service: 'payments', transport, logger, bindings, sends })
  await binder.start()
  await createRelay({ ...RELAY, outbox, publisher: binder, logger }).start()
}

class Customers {
  readonly #world: SimulatedWorld
  readonly #sql: SqlClient
  readonly #desks: Readonly<Record<Shop, Coordinator>>

  constructor(world: SimulatedWorld) {
    this.#world = world
    this.#sql = world.client.sql('home')
    const { logger } = world.client
    const deskOf = (shop: Shop): Coordinator => coordinatorOf(this.#sql, shop, { instance: 'customer', logger })
    this.#desks = { eu: deskOf('eu'), us: deskOf('us') }
  }

  async order(shop: Shop, id: string, cents: number): Promise<void> {
    const input = { shop, id, cents }
    await persist(this.#world, () => this.#desks[shop].start(buy, { id, input }))
    known.ordered.push(input)
  }

  /** The shop has forgotten the first one, as after a restore, and the payments have not: nothing is charged twice. */
  async orderAgain(shop: Shop, id: string): Promise<void> {
    await this.order(shop, id, 500)
    await this.#until(shop, 'buy', id, 'completed')
    await persist(this.#world, () => this.#desks[shop].purge({ olderThanMs: 0 }))
    const input = { shop, id, cents: 700 }
    await persist(this.#world, () => this.#desks[shop].start(buy, { id, input }))
    known.again = { shop, id }
  }

  async deliver(shop: Shop, id: string): Promise<void> {
    await persist(this.#world, () => this.#desks[shop].start(deliver, { id, input: { shop, id, cents: 0 } }))
    await this.#until(shop, 'deliver', id, 'stuck')
    known.isSoldOut = false
    for (let n = 0; n < MOST_RETRIES && (await this.#status(shop, 'deliver', id)) === 'stuck'; n++) {
      const target = { saga: deliver.name, id }
      await this.#desks[shop].retry(target, NOTE).catch((error: Error) => this.#world.note(error.message))
      await this.#world.sleep(3_000)
    }
  }

  async #status(shop: Shop, name: string, id: string): Promise<string | undefined> {
    const text = `SELECT status FROM ${shop}.saga WHERE name = $1 AND id = $2`
    return (await persist(this.#world, () => this.#sql.query<{ status: string }>(text, [name, id]))).rows[0]?.status
  }

  async #until(shop: Shop, name: string, id: string, wanted: string): Promise<void> {
    while ((await this.#status(shop, name, id)) !== wanted) await this.#world.sleep(500)
  }
}

async function trade(world: SimulatedWorld): Promise<void> {
  known = new Known()
  const customers = new Customers(world)
  for (let n = 1; n <= world.size; n++) {
    for (const shop of SHOPS) await customers.order(shop, `order-${n}`, world.between(1, 100_000))
    await world.sleep(world.between(0, 500))
  }
  await Promise.all([customers.orderAgain('eu', 'again'), customers.deliver('us', 'parcel')])
}

async function isSettled({ client }: SimulatedWorld): Promise<boolean> {
  const counts = SHOPS.map((shop) => `(SELECT count(*) FROM ${shop}.saga WHERE ended_at IS NULL)`)
  const { rows } = await client.sql('home').query<{ open: number }>(`SELECT (${counts.join(' + ')})::int AS open`)
  return rows[0]?.open === 0
}

async function requireCharges(world: SimulatedWorld): Promise<void> {
  const { rows } = await world.client.sql('home').query<Order & { operation: string }>('SELECT * FROM effect')
  for (const { shop, id, cents } of known.ordered) {
    const own = rows.filter((effect) => effect.shop === shop && effect.id === id && effect.cents === cents)
    const did = own.map(({ operation }) => operation).join(', ')
    if (did !== 'charge') throw new Error(`of ${cents} cents of ${shop}/${id} there is: ${did || 'nothing'}`)
  }
  await requireRefusal(world)
}

async function requireRefusal({ client }: SimulatedWorld): Promise<void> {
  if (known.again === undefined) throw new Error('no id was used again')
  const { shop, id } = known.again
  const text = `SELECT status FROM ${shop}.saga WHERE name = 'buy' AND id = $1`
  const { rows } = await client.sql('home').query<{ status: string }>(text, [id])
  const status = rows[0]?.status
  if (status !== 'compensated') throw new Error(`${shop}/${id}, which was charged before, is ${status ?? 'not there'}`)
}

async function prepare(sql: SqlClient): Promise<void> {
  for (const service of [...SHOPS, 'payments']) await outboxOf(sql, service).migrate()
  for (const shop of SHOPS) await coordinatorOf(sql, shop).migrate()
  await migrateParticipant(sql, 'payments')
  const columns = 'n bigserial PRIMARY KEY, shop text, id text, cents int, operation text'
  await sql.query(`CREATE TABLE IF NOT EXISTS effect (${columns})`)
}

export const shops: Workload = {
  about: 'two shops with a saga of one name ask one service, ids are used again: each order is charged once, each ends',
  mistakes: {},
  databases: ['home'],
  size: 2,
  options: (setting: Setting) => ({
    services: {
      eu: { instances: 1, start: (instance) => startShop('eu', instance) },
      us: { instances: 1, start: (instance) => startShop('us', instance) },
      payments: { instances: 1, start: startPayments },
    },
    databases: { home: { ...databaseOf(setting, 'home'), prepare } },
    workload: trade,
    settled: isSettled,
    invariants: { 'each is charged once': requireCharges },
  }),
}
