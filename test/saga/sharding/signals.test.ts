import { type Binder, createBinder, defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { defineSaga } from 'concordat/saga'
import { createShardedCoordinator, type ShardedCoordinator } from 'concordat/saga/coordinator'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { LogLines } from '../../support/log-lines.ts'
import { refusingSql, serverError } from '../../support/refusing-sql.ts'
import { until } from '../../support/until.ts'
import { interposing } from '../support/interposing.ts'
import { embeddedDatabases, openShards, type ShardsWorld } from './support/shards-world.ts'

const paid = defineChannel('shards.paid', { payload: z.object({ order: z.string() }) })
const Input = z.object({})
const within = { timeoutMs: 20_000 }

const waits = (missing: 'ignore' | 'retry' | 'dead-letter') =>
  defineSaga('waits', { version: 1, input: Input }).signal('paid', {
    from: paid,
    correlate: ({ order }) => order,
    missing,
  })
const keeps = waits('retry')
const refuses = waits('dead-letter')
const ignores = waits('ignore')
const asks = defineSaga('asks', { version: 1, input: Input }).signal('answer', { payload: z.string() })
const outer = defineSaga('outer', { version: 1, input: Input }).saga('inner', {
  saga: keeps,
  input: () => ({}),
  compensate: 'none',
})

let databases: ReturnType<typeof embeddedDatabases>
let world: ShardsWorld
let coordinator: ShardedCoordinator
let binder: Binder
let log: LogLines

beforeAll(async () => {
  databases = embeddedDatabases(['a', 'b'])
  await openShards(databases.sql).then((opened) => opened[Symbol.asyncDispose]())
}, 120_000)
afterAll(() => databases.close())
beforeEach(async () => {
  world = await openShards(databases.sql)
  log = new LogLines()
})
afterEach(async () => {
  await coordinator.close()
  await binder.close()
  await world[Symbol.asyncDispose]()
})

async function setup(saga: typeof keeps, b: SqlClient = world.shard('b').sql): Promise<void> {
  coordinator = createShardedCoordinator({
    service: 'orders',
    sagas: saga === keeps ? [keeps, outer, asks] : [saga],
    pollMs: 30,
    logger: log.logger,
    shards: { a: world.shard('a'), b: { ...world.shard('b'), sql: b } },
  })
  const { bindings, channels } = coordinator
  const transport = memoryTransport({ broker: memoryBroker() })
  binder = createBinder({ service: 'orders', transport, bindings, sends: [...channels, paid] })
  await coordinator.migrate()
  await binder.start()
  await coordinator.run()
}

/** Creates another process, without a binder. */
function another(): ShardedCoordinator {
  const shards = { a: world.shard('a'), b: world.shard('b') }
  return createShardedCoordinator({ service: 'orders', sagas: [keeps, asks], pollMs: 30, shards })
}

const sum = (count: 'handled' | 'retried' | 'deadLettered') =>
  binder.bindings().reduce((all, binding) => all + binding[count], 0)

/** An id that belongs on this shard. */
async function idOn(shard: string, make = (n: number) => `o-${n}`): Promise<string> {
  for (let n = 0; ; n++) if ((await coordinator.shardOf({ saga: 'waits', id: make(n) })) === shard) return make(n)
}

describe('a message that is a signal', () => {
  test.each([keeps, refuses])(
    'is taken by the shard that has its saga, and is no failure on the others',
    async (saga) => {
      await setup(saga)
      for (const shard of ['a', 'b']) {
        const id = await idOn(shard)
        const run = await coordinator.start(saga, { id, input: {} })
        await binder.send(paid, { order: id })
        expect((await run.outcome(within)).status).toBe('completed')
      }
      await until('both shards have handled both messages', () => sum('handled') === 4)
      expect([sum('retried'), sum('deadLettered')]).toEqual([0, 0])
    },
  )

  test.each(['a', 'b'])('is one dead letter when no shard has its saga, which belongs on %s', async (shard) => {
    await setup(refuses)
    await binder.send(paid, { order: await idOn(shard) })
    await until('it is a dead letter', () => sum('deadLettered') > 0 && sum('deadLettered') + sum('handled') === 2)
    expect(sum('deadLettered')).toBe(1)
  })

  test('a message that comes before its saga waits for it, also when the saga begins on another shard than that of its id', async () => {
    await setup(keeps)
    const shardOfInner = (id: string) => coordinator.shardOf({ saga: 'waits', id: `outer/${id}/inner` })
    let id = await idOn('a')
    for (let n = 0; (await shardOfInner(id)) !== 'b'; n++) id = await idOn('a', (m) => `again-${n}-${m}`)
    await binder.send(paid, { order: `outer/${id}/inner` })
    await until('no saga was found', () => log.text.includes('message for a saga that does not exist'))
    const run = await coordinator.start(outer, { id, input: {} })
    expect((await run.outcome(within)).status).toBe('completed')
    expect(await shardOfInner(id)).toBe('a')
  })

  test('that comes before a saga of a version which its readers lack is left for it, also on another shard', async () => {
    await setup(keeps)
    const newer = defineSaga('waits', { version: 2, input: Input }).signal('paid', {
      from: paid,
      correlate: ({ order }) => order,
      missing: 'retry',
    })
    const newerOuter = defineSaga('outer', { version: 2, input: Input }).saga('inner', {
      saga: newer,
      input: () => ({}),
      compensate: 'none',
    })
    const shardOfInner = (id: string) => coordinator.shardOf({ saga: 'waits', id: `outer/${id}/inner` })
    let id = await idOn('a')
    for (let n = 0; (await shardOfInner(id)) !== 'b'; n++) id = await idOn('a', (m) => `again-${n}-${m}`)
    await binder.send(paid, { order: `outer/${id}/inner` })
    await until('no saga was found', () => log.text.includes('message for a saga that does not exist'))
    const shards = { a: world.shard('a'), b: world.shard('b') }
    await using next = createShardedCoordinator({ service: 'orders', sagas: [newer, newerOuter], pollMs: 30, shards })
    await next.run()
    const run = await next.start(newerOuter, { id, input: {} })
    expect((await run.outcome(within)).status).toBe('completed')
  })

  test.each([0, 1, 2, 3, 4])(
    'counts when the start of its saga commits before statement %i about it, or is tried again',
    async (n) => {
      const database = interposing(world.shard('b').sql)
      await setup(keeps, database.sql)
      await using starter = another()
      const id = await idOn('b')
      database.before(n, id, () => starter.start(keeps, { id, input: {} }))
      await binder.send(paid, { order: id })
      await until('the message is settled, or tried again', () => sum('handled') === 2 || sum('retried') > 0)
      if (!database.happened) await starter.start(keeps, { id, input: {} })
      expect((await coordinator.get(keeps, id).outcome(within)).status).toBe('completed')
    },
  )

  test('is tried again while a shard that may have its saga is down', async () => {
    let awayFor: string | undefined
    let refused = 0
    const refusing = refusingSql(world.shard('b').sql, (_, parameters) => {
      if (awayFor === undefined || !parameters.flat().includes(awayFor)) return undefined
      refused++
      return serverError('57P01', 'terminating connection')
    })
    await setup(refuses, refusing)
    const order = await idOn('a')
    awayFor = order
    await binder.send(paid, { order })
    await until('both shards have tried again', () => refused >= 6)
    expect(sum('deadLettered')).toBe(0)
    awayFor = undefined
    await until('it is a dead letter', () => sum('deadLettered') === 1)
  })

  test.each(['refuses', 'does not answer'])('waits behind no ignored message while another shard %s', async (how) => {
    let away: PromiseWithResolvers<void> | undefined
    const { sql: b } = world.shard('b')
    const answered = async (): Promise<void> => {
      if (away !== undefined && how === 'refuses') throw serverError('57P01', 'terminating connection')
      await away?.promise
    }
    await setup(ignores, { ...b, query: (...asked) => answered().then(() => b.query(...asked)) })
    const id = await idOn('a')
    const run = await coordinator.start(ignores, { id, input: {} })
    const others = await Promise.all(Array.from({ length: 20 }, (_, n) => idOn('a', (m) => `other-${n}-${m}`)))
    away = Promise.withResolvers()
    for (const order of [...others, id]) await binder.send(paid, { order })
    expect((await run.outcome({ timeoutMs: 5_000 })).status).toBe('completed')
    away.resolve()
    away = undefined
  })
})

test.each([0, 1, 2, 3, 4])(
  'a signal is heard or finds no saga when the start commits before its statement %i on a shard',
  async (n) => {
    const database = interposing(world.shard('b').sql)
    await setup(keeps, database.sql)
    await using starter = another()
    const id = await idOn('b')
    database.before(n, id, () => starter.start(asks, { id, input: {} }))
    const signal = () => coordinator.signal(asks, id, 'answer', 'yes')
    const told = await signal().catch((error: { code?: string }) => error.code)
    if (!database.happened) await starter.start(asks, { id, input: {} })
    expect(told === 'saga.not_found' ? await signal() : told).toBe(true)
  },
)
