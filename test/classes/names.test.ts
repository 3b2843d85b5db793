/**
 * Names that two owners use at once: each name's scope is documented (docs/production/checklist.md, "Names"), and there
 * a second owner is refused, or kept apart.
 */

import { createBinder, defineChannel, sink } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { createBus } from 'concordat/bus'
import { createMembership, createSharedState } from 'concordat/cluster'
import { pgliteClient } from 'concordat/core/pglite'
import { createElection } from 'concordat/election'
import {
  memoryBroker,
  memoryLockServer,
  memoryLocks,
  memoryStateServer,
  memoryStateStore,
  memoryTransport,
} from 'concordat/memory'
import { createInbox, createOutbox } from 'concordat/outbox'
import { defineSaga, participant } from 'concordat/saga'
import { createService } from 'concordat/service'
import { Kafka } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const Payload = z.object({ n: z.number() })
const orders = defineChannel('orders', { payload: Payload })
const closing = <T extends { close(): Promise<unknown> }>(part: T): T => {
  onTestFinished(() => part.close().then(() => undefined))
  return part
}

describe('a second owner is refused', () => {
  test('a second binding of one name, or channel and group, is refused in a binder', () => {
    const transport = memoryTransport()
    const bind = (...bindings: ReturnType<typeof sink>[]) => createBinder({ service: 's', transport, bindings })
    const one = sink(orders, { group: 'g' }, () => {})
    expect(() =>
      bind(
        one,
        sink(orders, { group: 'g', name: 'other' }, () => {}),
      ),
    ).toThrow('one consumer per channel and group')
    expect(() =>
      bind(
        one,
        sink(defineChannel('x', { payload: Payload }), { group: 'h', name: 'orders.g' }, () => {}),
      ),
    ).toThrow('a name of its own for each binding')
    const dotted = sink(defineChannel('a.b', { payload: Payload }), { group: 'c' }, () => {})
    expect(() =>
      bind(
        dotted,
        sink(defineChannel('a', { payload: Payload }), { group: 'b.c', name: 'n' }, () => {}),
      ),
    ).toThrow('names that do not read as those of')
  })

  test('a transport of another binder is refused', () => {
    const transport = memoryTransport()
    createBinder({ service: 'a', transport })
    expect(() => createBinder({ service: 'b', transport })).toThrow(/transport/)
  })

  test('an outbox of another service in the same schema is refused', async () => {
    const schema = uniqueName('names')
    await createOutbox({ sql, service: 'shop', schema }).migrate()
    await createOutbox({ sql, service: 'shop', schema }).migrate()
    await expect(createOutbox({ sql, service: 'mails', schema }).migrate()).rejects.toMatchObject({
      code: 'outbox.owner',
    })
  })

  test('a Kafka group of another group of the same transport is refused', () => {
    const kafka = new Kafka({ brokers: ['127.0.0.1:1'] })
    const groupIds = { orders: { a: 'ledger' }, bills: { b: 'ledger' } }
    expect(() => kafkaTransport({ kafka, groupIds })).toThrow('another Kafka group than groupIds.orders.a has')
  })

  test('a second step, saga or role of one name is refused in a service', () => {
    const begin = () =>
      defineSaga('s', { version: 1, input: Payload }).step('a', { invoke: () => {}, compensate: 'none' })
    expect(() => begin().step('a' as never, { invoke: () => {}, compensate: 'none' })).toThrow(/"a"|step/)
    const options = { name: 's', sql, transport: memoryTransport() } as const
    expect(() => createService({ ...options, sagas: [begin(), begin()] })).toThrow(/s/)
    const locks = closing(memoryLocks())
    const leads = { role: () => {} }
    const schedules = { role: { jobs: [] } }
    expect(() => createService({ ...options, locks, leads, schedules })).toThrow('a role that is not in leads too')
  })

  test('two instances of one address on the bus both say so in their health', async () => {
    const broker = memoryBroker()
    const join = async () => {
      const bus = closing(createBus({ service: 'shop', instance: 'one', heartbeatMs: 20 }))
      const transport = memoryTransport({ broker })
      const binder = closing(createBinder({ service: 'shop', transport, bindings: bus.bindings, sends: bus.channels }))
      await binder.start()
      await bus.start(binder)
      return bus
    }
    const both = [await join(), await join()]
    await until('both know', () => both.every((bus) => bus.health().status === 'down'))
  })

  test('an instance of a cluster with a used name replaces the older one, which is notified', async () => {
    const store = closing(memoryStateStore({ server: memoryStateServer() }))
    const member = () =>
      closing(createMembership({ store, cluster: 'c', service: 's', instance: 'one', heartbeatMs: 20, rejoin: true }))
    const [older, newer] = [member(), member()]
    await older.join()
    const second = await newer.join()
    await until('it knows', () => older.status().state === 'evicted')
    expect(newer.self()?.generation).toBe(second.generation)
  })
})

describe('equal names are kept apart', () => {
  test('messages with one id from two sources, and of two groups, are kept apart in an inbox', async () => {
    const inbox = createInbox({ sql, schema: uniqueName('names') })
    await inbox.migrate()
    const at = { group: 'g', destination: 'd', source: 'shop', id: '1' }
    const handle = (message: typeof at) => inbox.process(message, async () => {})
    expect([
      await handle(at),
      await handle({ ...at, source: 'mails' }),
      await handle({ ...at, group: 'h' }),
      await handle(at),
    ]).toEqual(['processed', 'processed', 'processed', 'duplicate'])
  })

  test('sagas of two services that ask one participant are kept apart: each is charged', async () => {
    const broker = memoryBroker()
    const commands = defineChannel('charges', { payload: Payload, groups: ['payments'] })
    const charged: string[] = []
    const payments = closing(
      createService({
        name: 'payments',
        schema: uniqueName('payments'),
        sql,
        transport: memoryTransport({ broker }),
        bindings: [
          participant(
            commands,
            { group: 'payments' },
            { invoke: (_, { message }) => void charged.push(message.source), compensate: () => {} },
          ),
        ],
      }),
    )
    await payments.start()
    for (const name of ['shop-1', 'shop-2']) {
      const saga = defineSaga('buy', { version: 1, input: Payload }).command('charge', {
        to: commands,
        request: ({ input }) => input,
        compensate: 'none',
      })
      const shop = closing(
        createService({ name, schema: uniqueName('shop'), sql, transport: memoryTransport({ broker }), sagas: [saga] }),
      )
      await shop.start()
      const run = await shop.run(saga, { id: 'order-1', input: { n: 1 } })
      expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('completed')
    }
    expect(charged).toEqual(['shop-1', 'shop-2'])
  })

  test('sagas of two schemas, and outboxes, are kept apart', async () => {
    const saga = defineSaga('buy', { version: 1, input: Payload }).step('a', { invoke: () => {}, compensate: 'none' })
    const runs = await Promise.all(
      ['one', 'two'].map(async (name) => {
        const service = closing(
          createService({ name, schema: uniqueName(name), sql, transport: memoryTransport(), sagas: [saga] }),
        )
        await service.start()
        const run = await service.run(saga, { id: 'same', input: { n: 1 } })
        return run.outcome({ timeoutMs: 10_000 })
      }),
    )
    expect(runs.map(({ status }) => status)).toEqual(['completed', 'completed'])
  })

  test('states of two clusters, and keys of locks on two servers, are kept apart', async () => {
    const store = closing(memoryStateStore({ server: memoryStateServer() }))
    const [a, b] = ['a', 'b'].map((cluster) => closing(createSharedState<number>({ store, cluster, name: 'same' })))
    await a?.put('k', 1)
    expect((await b?.get('k'))?.value).toBeUndefined()
    const [one, two] = [
      closing(memoryLocks({ server: memoryLockServer() })),
      closing(memoryLocks({ server: memoryLockServer() })),
    ]
    const held = await one.acquire('k')
    await (await two.acquire('k', { waitMs: 0 })).release()
    await held.release()
  })

  test('two candidates with one instance name are kept apart: one leads at a time', async () => {
    const server = memoryLockServer()
    const candidates = Array.from({ length: 2 }, () => {
      const locks = closing(memoryLocks({ server }))
      const election = closing(createElection({ locks, role: 'r', instance: 'same' }))
      election.start()
      return election
    })
    await until('one leads', () => candidates.some((each) => each.current() !== undefined))
    expect(candidates.filter((each) => each.current() !== undefined)).toHaveLength(1)
  })
})
