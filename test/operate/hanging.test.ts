// oxlint-disable no-restricted-imports -- inside of the command line: `lag` with reports of chosen instances
/** A handler call that hangs: what the operator's commands say of it. */

import { createOperator, type InstancesView } from '@concordat/cli'
import { createBinder, defineChannel, sink, TransportError } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { pgliteClient } from 'concordat/core/pglite'
import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { Invocation } from '../../packages/cli/commands/command.ts'
import { INSTANCE_COMMANDS } from '../../packages/cli/commands/instances.ts'
import { LAG_COMMANDS } from '../../packages/cli/commands/lag.ts'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), partitions: 1, groups: ['stock'] })
const place = { channel: 'orders', group: 'stock', partitions: 1 }

/** Counts as RabbitMQ does: nothing of what consumers hold. */
function readyOnly(transport: Transport): Transport {
  const features = { ...transport.features, tellsWholeLag: { missing: 'ready only' } }
  return new Proxy(transport, {
    get: (target, name) => {
      if (name === 'features') return features
      if (name === 'lag') return async () => 0
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** A service on a bus whose only handler call never returns, with four messages behind it. */
async function setup(schema: string) {
  const broker = memoryBroker()
  const bus = createBus({ service: 'shop', instance: 'shop-1' })
  const hanging = Promise.withResolvers<void>()
  const binder = createBinder({
    service: 'shop',
    transport: memoryTransport({ broker }),
    bindings: [sink(orders, { group: 'stock', slowAfterMs: 20 }, () => hanging.promise), ...bus.bindings],
    sends: [orders, ...bus.channels],
  })
  onTestFinished(async () => {
    hanging.resolve()
    await bus.close()
    await binder.close()
  })
  await binder.start()
  await bus.start(binder)
  await bus.ready()
  const operator = createOperator({ sql, schema, transport: () => readyOnly(memoryTransport({ broker })) })
  await operator.migrate({ by: 'ann', reason: 'a test', parts: ['outbox'], partitions: 1 })
  await binder.sendBatch(
    orders,
    [1, 2, 3, 4, 5].map((n) => ({ n })),
  )
  await until('it hangs', () => binder.bindings()[0]?.isSlow === true)
  return { operator }
}

/** Remedies of the lines on handlers. */
const remediesIn = async (operator: ReturnType<typeof createOperator>) =>
  (await operator.doctor({ places: [place] })).lines
    .filter(({ check }) => check === 'handlers')
    .map(({ remedy }) => remedy)

const handlersIn = async (
  operator: ReturnType<typeof createOperator>,
  instances: InstancesView | undefined,
): Promise<readonly string[]> =>
  (await operator.doctor({ places: [place], instances })).lines
    .filter(({ check }) => ['handlers', 'instances', 'process'].includes(check))
    .map(({ status, text }) => `${status} ${text}`)

describe('a handler call that hangs', () => {
  test('is a line of instances, with the messages that wait behind it as lag', async () => {
    const { operator } = await setup('hanging_1')
    await using watch = await operator.bus.watch({ everyMs: 1_000 })
    await until('it is seen', () => watch.view().bindings[0]?.lag === 5, 20_000)
    const { instances, bindings } = watch.view()
    expect(instances).toMatchObject([{ slow: ['orders.stock'], running: 1, queued: 4, blockedMs: expect.any(Number) }])
    expect(bindings).toMatchObject([{ name: 'orders.stock', runningForMs: expect.any(Number), running: 1, queued: 4 }])
  })

  test('is a warning of doctor with the instance, and unknown without the reports of a bus', async () => {
    const { operator } = await setup('hanging_2')
    await using watch = await operator.bus.watch({ everyMs: 1_000 })
    await until('it is seen', () => watch.view().instances[0]?.slow.length === 1, 20_000)
    expect(await handlersIn(operator, watch.view())).toEqual([
      expect.stringMatching(/^warn orders\.stock: a handler call has been running for .* on shop:default:shop-1$/),
    ])
    expect(await handlersIn(operator, undefined)).toEqual([
      'unknown no instance reports over a bus: a handler that hangs is not seen',
    ])
    // A bus that is lost looks the same to the doctor.
    expect(await remediesIn(operator)).toEqual([
      expect.stringMatching(/^where the services have a bus, npx concordat instances says whether it is reached;/),
    ])
  })

  test('an instance that reports and none that reads a group with messages is a warning of doctor', async () => {
    const { operator } = await setup('hanging_3')
    await using watch = await operator.bus.watch({ everyMs: 1_000 })
    await until('it is seen', () => watch.view().instances.length === 1, 20_000)
    const view = { ...watch.view(), bindings: [] }
    const other = createOperator({ sql, schema: 'hanging_3', transport: () => counting(7) })
    const { lines } = await other.doctor({ places: [place], instances: view })
    expect(lines.filter(({ check }) => check === 'groups')).toMatchObject([
      { status: 'warn', text: 'orders.stock has 7 messages, and no instance that reports reads it' },
    ])
  })

  test('lag lists the groups of a named broker beside those of the log in the database', async () => {
    const { operator } = await setup('hanging_5')
    const groups = async () => [{ channel: 'paid', group: 'audit', lag: 1, readers: 1 }]
    const asked = {
      positionals: [],
      values: { rabbitmq: 'amqp://mq' },
      env: {},
      operator: async () => ({ ...operator, groups }),
    }
    expect(await LAG_COMMANDS[0]?.run(asked as unknown as Invocation)).toMatchObject({
      json: { groups: [{ channel: 'paid' }, { channel: 'orders', group: 'stock', lag: 5, held: 5 }] },
    })
  })

  test('what a service without a bus holds stays unknown, with exit code 1, beside another service that reports', async () => {
    const { operator } = await setup('hanging_4')
    const view: InstancesView = await (async () => {
      await using watch = await operator.bus.watch({ everyMs: 1_000 })
      await until('it is seen', () => watch.view().instances.length === 1, 20_000)
      return { ...watch.view(), bindings: [] }
    })()
    const bus = {
      ...operator.bus,
      watch: async () => ({ view: () => view, trouble: () => undefined, [Symbol.asyncDispose]: async () => {} }),
    }
    // Dead letters that are known: the part of the lag is all that is not.
    const letters = { backlog: () => operator.letters.backlog(place), count: async () => 0 }
    const asked = {
      positionals: ['orders', 'stock'],
      values: {},
      env: {},
      operator: async () => ({ ...operator, bus, letters }),
    }
    expect(await LAG_COMMANDS[0]?.run(asked as unknown as Invocation)).toMatchObject({
      code: 1,
      text: expect.stringContaining('LAG has only what is ready'),
      json: { groups: [{ lag: 0, held: null }] },
    })
    const { lines } = await operator.doctor({ places: [place], instances: view })
    expect(lines.filter(({ check }) => check === 'groups').map(({ status }) => status)).toEqual(['unknown'])
  })
})

/** A broker whose groups have this many messages and no dead letters. */
function counting(messages: number): Transport {
  const lag = async ({ destination }: { readonly destination: string }): Promise<number> =>
    destination.endsWith('.dlq') ? 0 : messages
  return {
    name: 'broker',
    features: { tellsWholeLag: true },
    attach: () => {},
    close: async () => {},
    lag,
  } as unknown as Transport
}

describe('a bus that is lost while it is watched', () => {
  const binding = { ...place, service: 'shop', name: 'orders.stock', running: 1, queued: 4, states: {}, circuits: {} }
  const line = { address: 'shop:default:shop-1', service: 'shop', notRunning: [], slow: [], running: 1, queued: 4 }
  const view = { instances: [line], bindings: [binding], leftOut: 0 }
  const close = async (): Promise<void> => {}
  const watch = async () => ({ view: () => view, trouble: () => 'no broker', close, [Symbol.asyncDispose]: close })
  const letters = { backlog: async () => ({ lag: 0, isReadyOnly: true }), count: async () => 0 }

  async function asked(values: Readonly<Record<string, unknown>>, ...positionals: readonly string[]) {
    const stop = new AbortController()
    const printed: string[] = []
    const print = async (text: string): Promise<void> => {
      printed.push(text)
      stop.abort()
    }
    const operator = async () => ({ bus: { watch }, letters, groups: async () => [] })
    return { printed, invocation: { positionals, values, env: {}, operator, print, stop: stop.signal } as never }
  }

  test('is a problem of instances, beside the last reports', async () => {
    const problem = 'The bus is not reached now: no broker'
    const once = await asked({ listen: '1ms' })
    expect(await INSTANCE_COMMANDS[0]?.run(once.invocation)).toMatchObject({
      code: 1,
      text: expect.stringContaining(problem),
      json: { ...view, problem },
    })
    const watching = await asked({ listen: '1ms', watch: true, json: true })
    await INSTANCE_COMMANDS[0]?.run(watching.invocation)
    expect(watching.printed.map((text) => JSON.parse(text) as unknown)).toEqual([{ ...view, problem }])
  })

  test('leaves the part of the lag that instances hold unknown', async () => {
    const { invocation } = await asked({}, 'orders', 'stock')
    expect(await LAG_COMMANDS[0]?.run(invocation)).toMatchObject({
      code: 1,
      json: { groups: [{ lag: 0, held: null }] },
    })
  })
})

test('a number of partitions that was given for a lag is not replaced by that of the broker', async () => {
  const lag: Transport['lag'] = async ({ partitions }) => {
    if (partitions === 3) return 5
    throw new TransportError({ transport: 'fake', kind: 'mismatch', message: 'it has 3 partitions', partitions: 3 })
  }
  const { letters } = createOperator({ sql, transport: () => ({ ...counting(0), lag }) as Transport })
  expect(await letters.lag({ ...place, partitions: undefined })).toBe(5)
  await expect(letters.lag({ ...place, partitions: 2 })).rejects.toThrow('it has 3 partitions')
})
