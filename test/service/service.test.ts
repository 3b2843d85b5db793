import { createBinder, defineChannel, processor, sink, sinkBatch } from 'concordat/binder'
import { ClusterError } from 'concordat/cluster'
import { quoteIdentifier, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryLocks, memoryStateServer, memoryStateStore, memoryTransport } from 'concordat/memory'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { defineSaga, participant, Refusal } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const Order = z.object({ orderId: z.string(), cents: z.number().int() })
const commands = defineChannel('payments.commands', { payload: Order })
const confirmed = defineChannel('orders.confirmed', { payload: Order, key: (order) => order.orderId })
const other = defineChannel('orders.other', { payload: Order })

const placeOrder = defineSaga('place-order', { version: 1, input: Order })
  .command('charge', { to: commands, request: ({ input }) => input, compensate: true })
  .step('confirm', { pivot: true, invoke: () => 'yes' })

const charge = (charged: number[]) =>
  participant(
    commands,
    { group: 'payments' },
    {
      invoke: ({ cents }) => {
        if (cents > 10_000) throw new Refusal('payments.declined', 'over the limit')
        charged.push(cents)
        return { paid: cents }
      },
      compensate: () => {},
    },
  )

const order = (orderId: string, cents = 500) => ({ orderId, cents })

describe('a service', () => {
  test('runs sagas, participants, inboxes and transactions without manual wiring', async () => {
    const received: string[] = []
    const charged: number[] = []
    const shop = createService({
      name: 'shop',
      schema: uniqueName('shop'),
      sql,
      transport: memoryTransport(),
      sagas: [placeOrder],
      bindings: [
        charge(charged),
        sink(confirmed, { group: 'receipts', once: true }, async ({ orderId }, { tx }) => {
          await tx.query('SELECT 1')
          received.push(orderId)
        }),
      ],
      sends: [confirmed],
    })
    await shop.start()
    await shop.ready()
    const run = await shop.run(placeOrder, { id: 'o-1', input: order('o-1') })
    expect(await run.outcome()).toMatchObject({
      status: 'completed',
      results: { charge: { paid: 500 }, confirm: 'yes' },
    })
    const second = await shop.transaction(async (tx) => {
      await tx.send(confirmed, order('o-2'))
      return tx.start(placeOrder, { id: 'o-2', input: order('o-2', 20_000) })
    })
    expect(await second.outcome()).toMatchObject({ status: 'compensated' })
    await shop.send(confirmed, order('o-3'))
    await until('both came', () => received.length === 2)
    expect(charged).toEqual([500])
    await shop.close()
  })

  test('sends and starts nothing when the transaction rolls back', async () => {
    const received: string[] = []
    const bindings = [sink(confirmed, { group: 'all' }, ({ orderId }) => void received.push(orderId))]
    const shop = createService({
      name: 'shop',
      schema: uniqueName('shop'),
      sql,
      transport: memoryTransport(),
      sagas: [placeOrder],
      bindings: [...bindings, charge([])],
      sends: [confirmed],
    })
    await shop.start()
    const undone = shop.transaction(async (tx) => {
      await tx.send(confirmed, order('gone'))
      await tx.start(placeOrder, { id: 'gone', input: order('gone') })
      throw new Error('no')
    })
    await expect(undone).rejects.toThrow('no')
    await shop.transaction((tx) => tx.send(confirmed, order('kept')))
    await until('one came', () => received.length > 0)
    expect(received).toEqual(['kept'])
    await expect(shop.coordinator?.report({ saga: 'place-order', id: 'gone' })).rejects.toMatchObject({
      code: 'saga.not_found',
    })
    await shop.close()
  })

  test('two services with a database each need no reply channel: a participant answers its caller', async () => {
    const broker = memoryBroker()
    const charged: number[] = []
    const payments = createService({
      name: 'payments',
      schema: uniqueName('payments'),
      sql,
      transport: memoryTransport({ broker }),
      bindings: [charge(charged)],
    })
    const shop = createService({
      name: 'shop',
      schema: uniqueName('shop'),
      sql,
      transport: memoryTransport({ broker }),
      sagas: [placeOrder],
    })
    await Promise.all([payments.start(), shop.start()])
    const run = await shop.run(placeOrder, { id: 'o-1', input: order('o-1', 700) })
    expect(await run.outcome()).toMatchObject({ status: 'completed' })
    expect(charged).toEqual([700])
    await Promise.all([payments.close(), shop.close()])
  })

  test('leads under its own name, and hands over when it closes', async () => {
    const locks = memoryLocks()
    const led = gate()
    const shop = createService({
      name: 'shop',
      instance: 'shop-1',
      transport: memoryTransport(),
      locks,
      leads: {
        settlement: async ({ instance, signal }) => {
          expect(instance).toBe('shop-1')
          led.open()
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        },
      },
    })
    await shop.start()
    await led.opened
    expect(await shop.elections['settlement']?.leader()).toMatchObject({ instance: 'shop-1' })
    // Another service on the same locks may lead a role of the same name.
    expect((await locks.list()).map(({ key }) => key)).toEqual(['election/shop/settlement'])
    expect(shop.health()).toMatchObject({ status: 'up', parts: { 'leads settlement': { status: 'up' } } })
    await shop.close()
    expect(shop.elections['settlement']?.status().state).toBe('closed')
  })

  test('runs the jobs of a schedule on the instance that leads its role', async () => {
    const ran = gate()
    const shop = createService({
      name: 'shop',
      instance: 'shop-1',
      transport: memoryTransport(),
      locks: memoryLocks(),
      schedules: {
        nightly: {
          jobs: [
            {
              name: 'sweep',
              everyMs: 10,
              work: ({ term }) => {
                expect(term).toMatchObject({ role: 'shop/nightly', instance: 'shop-1' })
                ran.open()
              },
            },
          ],
        },
      },
    })
    await shop.start()
    await ran.opened
    expect(shop.health().parts).toMatchObject({
      'leads nightly': { status: 'up' },
      'schedule nightly': { status: 'up' },
    })
    expect(shop.schedules['nightly']?.status()).toMatchObject([{ job: 'sweep', failures: 0 }])
    await shop.close()
    expect(shop.schedules['nightly']?.health().status).toBe('closed')
  })

  test('is a member of its cluster, and shares states with the other instances', async () => {
    const server = memoryStateServer()
    const make = (instance: string) =>
      createService({
        name: 'shop',
        instance,
        transport: memoryTransport(),
        cluster: { store: memoryStateStore({ server }), meta: { zone: instance } },
      })
    const one = make('shop-1')
    const two = make('shop-2')
    await Promise.all([one.start(), two.start()])
    await until('both see both', () =>
      [one, two].every(
        (each) =>
          each.membership
            ?.members()
            .map((m) => m.instance)
            .join() === 'shop-1,shop-2',
      ),
    )
    expect(one.membership?.members()[1]).toMatchObject({ service: 'shop', meta: { zone: 'shop-2' } })
    const rates = one.sharedState('rates', { schema: z.number() })
    await rates.put('EUR', 108)
    expect(await two.sharedState('rates', { schema: z.number() }).get('EUR')).toMatchObject({ value: 108 })
    expect(one.sharedState('rates')).toBe(rates)
    expect(() => one.sharedState('rates', { schema: z.string() })).toThrow(/the state has them already/)
    expect(one.health().parts['membership']).toMatchObject({ status: 'up' })
    await two.close()
    await until('one is left', () => one.membership?.members().length === 1)
    await one.close()
    expect(() => one.sharedState('rates')).toThrow(expect.objectContaining({ code: 'service.closed' }))
  })

  test('starts while the store of its cluster is down, and joins later', async () => {
    const server = memoryStateServer()
    const store = memoryStateStore({ server })
    let isAway = true
    const away = new Proxy(store, {
      get: (target, name) => {
        const value = Reflect.get(target, name) as unknown
        if (name !== 'join' || !isAway) return typeof value === 'function' ? value.bind(target) : value
        return () =>
          Promise.reject(
            new ClusterError('cluster.store_unavailable', { store: 'redis', outcome: 'not_done', detail: 'away' }),
          )
      },
    })
    const parts = { membership: { heartbeatMs: 20 } }
    const shop = createService({ name: 'shop', transport: memoryTransport(), cluster: { store: away }, parts })
    await shop.start()
    expect(shop.health()).toMatchObject({ live: true, ready: true })
    isAway = false
    await until('it has joined', () => shop.membership?.self() !== undefined)
    await shop.close()
  })

  test('has one identity in every part', async () => {
    const lines: object[] = []
    const write = (fields: object): void => void lines.push(fields)
    const make = (bound: object) => ({
      debug: (fields: object) => write({ ...bound, ...fields }),
      info: (fields: object) => write({ ...bound, ...fields }),
      warn: (fields: object) => write({ ...bound, ...fields }),
      error: (fields: object) => write({ ...bound, ...fields }),
      child: (fields: object) => make({ ...bound, ...fields }),
    })
    const schema = uniqueName('shop')
    let seen: string | undefined
    const shop = createService({
      name: 'shop',
      schema,
      sql,
      transport: memoryTransport(),
      sagas: [placeOrder],
      bindings: [charge([])],
      locks: ({ instance }) => {
        seen = instance
        return memoryLocks({ owner: instance })
      },
      logger: make({}),
    })
    await shop.start()
    expect(shop.instance).toMatch(/^shop-.+-\d+-[0-9a-f]{8}$/)
    expect(shop.binder.instance).toBe(shop.instance)
    expect(shop.coordinator?.instance).toBe(shop.instance)
    expect(seen).toBe(shop.instance)
    const { rows } = await sql.query<{ owner: string }>(`SELECT owner FROM ${quoteIdentifier(schema)}.outbox_relay`)
    expect(rows[0]?.owner).toContain(shop.instance)
    expect(lines.length).toBeGreaterThan(0)
    for (const line of lines) expect(line).toMatchObject({ service: 'shop', instance: shop.instance })
    await shop.close()
  })

  test('closes its opened parts when a part fails to start, and rejects with that error', async () => {
    const locks = memoryLocks()
    const shop = createService({
      name: 'shop',
      schema: uniqueName('never'),
      sql,
      transport: memoryTransport(),
      sagas: [placeOrder],
      locks,
      migrate: 'check',
    })
    await expect(shop.start()).rejects.toMatchObject({ code: 'core.tables_missing' })
    expect(shop.health()).toMatchObject({ status: 'down', live: false, ready: false })
    expect(locks.health().status).toBe('closed')
    await expect(shop.ready()).rejects.toMatchObject({ code: 'service.closed' })
    await expect(shop.transaction(async () => {})).rejects.toMatchObject({ code: 'service.closed' })
  })

  test.each([
    ['locks', (schema: string) => ({ locks: postgresLocks({ sql, schema }) })],
    ['cluster state', (schema: string) => ({ cluster: { store: postgresStateStore({ sql, schema }) } })],
    ['transport', (schema: string) => ({ transport: postgresTransport({ sql, schema }) })],
  ])('refuses to start without the tables of its %s when it only checks', async (_, part) => {
    const schema = uniqueName('part')
    const options = () => ({ name: 'shop', transport: memoryTransport(), ...part(schema), logger: silentLogger })
    const checking = createService({ ...options(), migrate: 'check' })
    await expect(checking.start()).rejects.toMatchObject({ code: 'core.tables_missing' })
    await checking.close()
    const service = createService(options())
    await service.start()
    await service.close()
    const second = createService({ ...options(), migrate: 'check' })
    await second.start()
    await second.close()
  })

  test('starts with existing tables in check mode', async () => {
    const options = { name: 'shop', schema: uniqueName('check'), sql, sagas: [placeOrder], bindings: [charge([])] }
    const first = createService({ ...options, transport: memoryTransport() })
    await first.start()
    await first.close()
    const second = createService({ ...options, transport: memoryTransport(), migrate: 'check' })
    await second.start()
    expect(second.health().ready).toBe(true)
    await second.close()
  })

  test('closes once, for any number and order of calls, and never rejects', async () => {
    const shop = createService({ name: 'shop', transport: memoryTransport() })
    await shop.start()
    await Promise.all([shop.close(), shop.close(), shop[Symbol.asyncDispose]()])
    await shop.close()
    expect(shop.health().status).toBe('down')
  })
})

describe('health', () => {
  test('a part that does not decide makes it degraded, and it stays ready', async () => {
    const locks = memoryLocks()
    const shop = createService({ name: 'shop', transport: memoryTransport(), locks })
    await shop.start()
    await locks.close()
    expect(shop.health()).toMatchObject({ status: 'degraded', live: true, ready: true })
    await shop.close()
  })

  test('the user chooses which parts decide', async () => {
    const locks = memoryLocks()
    const shop = createService({ name: 'shop', transport: memoryTransport(), locks, readiness: ['locks'] })
    await shop.start()
    await locks.close()
    expect(shop.health()).toMatchObject({ status: 'down', live: true, ready: false })
    await expect(shop.ready({ timeoutMs: 0 })).rejects.toMatchObject({ code: 'service.not_ready', parts: ['locks'] })
    await shop.close()
  })

  test('is not ready before the start', async () => {
    const shop = createService({ name: 'shop', transport: memoryTransport() })
    expect(shop.health()).toMatchObject({ status: 'down', live: true, ready: false })
    await expect(shop.ready({ timeoutMs: 0 })).rejects.toThrow(/it is not started: await start\(\) first/)
    await shop.close()
  })
})

describe('calls that only a service has', () => {
  const handle = (): void => {}
  test.each([
    [
      'sink',
      sink(confirmed, { group: 'g', once: true }, handle),
      /sink\("orders\.confirmed"\)\.once: expected createService/,
    ],
    ['processor', processor(confirmed, other, { group: 'g', once: true }, (o) => o), /processor\(.*\)\.once/],
    ['sinkBatch', sinkBatch(confirmed, { group: 'g', once: true }, () => []), /sinkBatch\(.*\)\.once/],
    ['participant', charge([]), /\.sql: expected sql and outbox, or createService/],
  ])('a %s that leaves it out is refused by createBinder, with the remedy', (_, binding, message) => {
    expect(() => createBinder({ service: 'shop', transport: memoryTransport(), bindings: [binding] })).toThrow(message)
    expect(() => createBinder({ service: 'shop', transport: memoryTransport(), bindings: [binding] })).toThrow(
      /createService\(\{ sql, bindings \}\)/,
    )
  })

  test.each([
    [{ sagas: [placeOrder] }, /createService\.sql: expected a SqlClient .* which sagas needs/],
    [{ bindings: [charge([])] }, /createService\.sql: expected a SqlClient .* which bindings\[0\] needs/],
    [{ leads: { settlement: () => {} } }, /createService\.locks/],
    [{ locks: memoryLocks(), leads: { ['__proto__']: () => {} } }, /createService\.leads: expected a role of another/],
    [{ schedules: { nightly: { jobs: [] } } }, /createService\.locks: .* which schedules need/],
    [{ locks: memoryLocks(), schedules: { nightly: { jbos: [] } } }, /createService\.schedules\.nightly\.jbos/],
    [
      { locks: memoryLocks(), leads: { a: () => {} }, schedules: { a: { jobs: [] } } },
      /createService\.schedules: expected a role that is not in leads too/,
    ],
    [{ cluster: {} }, /createMembership\.store/],
    [{ cluster: { store: memoryStateStore(), nmae: 'x' } }, /createService\.cluster\.nmae/],
    [{ migrate: 'never' }, /createService\.migrate: expected 'apply' or 'check'/],
    [{ nmae: 'shop' }, /createService\.nmae/],
    [{ parts: { relais: {} } }, /createService\.parts\.relais/],
    [{ name: '' }, /createService\.name/],
    [{ sql, parts: { outbox: { partitions: 0 } } }, /createService\.parts\.outbox\.partitions/],
  ])('the options %j are refused by name', (wrong, message) => {
    expect(() => createService({ name: 'shop', transport: memoryTransport(), ...(wrong as object) })).toThrow(message)
  })

  test('run and transaction name the missing part', async () => {
    const shop = createService({ name: 'shop', transport: memoryTransport() })
    await expect(shop.transaction(async () => {})).rejects.toThrow(/a service with sql/)
    await expect(shop.run(placeOrder, { id: 'a', input: order('a') })).rejects.toThrow(/a service with sagas/)
    await shop.close()
  })
})
