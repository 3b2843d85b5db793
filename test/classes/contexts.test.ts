/**
 * The context that later work inherits from the place where it was started: values that last, and none that ends with
 * the starter. Otherwise a consumer started under a lock would always work with a released lease: its token would go
 * into headers, its fence would refuse, and `acquire` of that key would be refused as waiting for itself.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import { createBinder, defineChannel, processor, responder, sink, sinkBatch, source } from 'concordat/binder'
import { createBus, defineEvent, onEvent } from 'concordat/bus'
import { createMembership, createSharedState } from 'concordat/cluster'
import { pgliteClient } from 'concordat/core/pglite'
import { createElection, createObserver, createSchedule } from 'concordat/election'
import { currentLease, leaseHeaders } from 'concordat/locks'
import { memoryLockServer, memoryLocks, memoryStateServer, memoryStateStore, memoryTransport } from 'concordat/memory'
import { currentSaga, defineSaga, participant } from 'concordat/saga'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
/** A second database with one connection: a statement made during its transaction, outside of `tx`, is refused. */
const other = freshPglite()
const elsewhere = pgliteClient(other)
beforeAll(() => Promise.all([database.waitReady, other.waitReady]), 180_000)
afterAll(() => Promise.all([database.close(), other.close()]))

const Payload = z.object({ n: z.number() })
const user = new AsyncLocalStorage<string>()
const STARTER = 'the starter'

interface Seen {
  readonly lease: string | undefined
  readonly saga: string | undefined
  readonly headers: readonly string[]
  readonly reenters: boolean
  readonly isInTransaction: boolean | undefined
  readonly user: string | undefined
}

/** Looks at the context inside the work. */
type Look = () => Promise<void>

function watcher() {
  const server = memoryLockServer()
  const locks = memoryLocks({ server })
  onTestFinished(() => locks.close())
  const seen: Seen[] = []
  const look: Look = async () => {
    const refused = locks.acquire('k', { waitMs: 0 }).then(
      (lease) => lease.release().then(() => false),
      (error: { code?: string }) => error.code === 'locks.reentered',
    )
    seen.push({
      lease: currentLease()?.key,
      saga: currentSaga()?.saga,
      headers: Object.keys(leaseHeaders()),
      reenters: await refused,
      isInTransaction: elsewhere.isInTransaction?.(),
      user: user.getStore(),
    })
  }
  return { server, locks, seen, look }
}

type World = ReturnType<typeof watcher>

/**
 * Places where work is started. Each calls `begin` once from inside the context, which ends only after the test has
 * seen the work.
 */
const PLACES: Readonly<Record<string, (world: World, begin: () => Promise<void>) => Promise<void>>> = {
  'a lock': ({ locks }, begin) => locks.using('k', {}, begin),
  'a term': async ({ server }, begin) => {
    const locks = memoryLocks({ server })
    const begun = Promise.withResolvers<void>()
    const onGranted = async (): Promise<void> => begin().then(begun.resolve, begun.reject)
    const election = createElection({ locks, role: 'starter', onGranted })
    onTestFinished(async () => {
      await election.close()
      await locks.close()
    })
    election.start()
    await begun.promise
  },
  'a transaction': (_, begin) => elsewhere.transaction(begin),
  'a step of a saga': async (_, begin) => {
    const begun = Promise.withResolvers<void>()
    const invoke = (): Promise<void> => begin().then(begun.resolve, begun.reject)
    const saga = defineSaga('outer', { version: 1, input: Payload }).step('begin', { invoke, compensate: 'none' })
    const transport = memoryTransport()
    const service = createService({ name: 'outer', schema: uniqueName('outer'), sql, transport, sagas: [saga] })
    onTestFinished(() => service.close())
    await service.start()
    await service.run(saga, { id: 'a', input: { n: 1 } })
    await begun.promise
  },
  'a handler under a lock': async ({ locks }, begin) => {
    const begun = Promise.withResolvers<void>()
    const orders = defineChannel('outer', { payload: Payload })
    const outer = sink(orders, { group: 'g' }, () => locks.using('k', {}, begin).then(begun.resolve, begun.reject))
    const binder = createBinder({ service: 'outer', transport: memoryTransport(), bindings: [outer], sends: [orders] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.send(orders, { n: 1 })
    await begun.promise
  },
}

const orders = defineChannel('orders', { payload: Payload })
const copies = defineChannel('copies', { payload: Payload })

async function started<T extends { start(): Promise<unknown>; close(): Promise<void> }>(part: T): Promise<T> {
  onTestFinished(() => part.close())
  await part.start()
  return part
}

/** Starts a part whose own functions `look`, and makes later events call them. */
const WORKS: Readonly<Record<string, (look: Look, world: World) => Promise<void>>> = {
  'a sink': async (look) => {
    const bindings = [sink(orders, { group: 'g' }, look)]
    const binder = await started(
      createBinder({ service: 's', transport: memoryTransport(), bindings, sends: [orders] }),
    )
    await binder.send(orders, { n: 1 })
  },
  'a batch sink': async (look) => {
    const bindings = [sinkBatch(orders, { group: 'g', batch: { maxSize: 2, maxWaitMs: 1 } }, look)]
    const binder = await started(
      createBinder({ service: 's', transport: memoryTransport(), bindings, sends: [orders] }),
    )
    await binder.send(orders, { n: 1 })
  },
  'a processor and the headers of what it sends': async (look) => {
    let isHandling = false
    const copy = processor(orders, copies, { group: 'g' }, async ({ n }) => {
      isHandling = true
      await look()
      return { n }
    })
    const bindings = [copy]
    const headers = (): Record<string, string> => {
      if (isHandling) void look()
      return {}
    }
    const binder = await started(
      createBinder({ service: 's', transport: memoryTransport(), bindings, sends: [orders], headers }),
    )
    await binder.send(orders, { n: 1 })
  },
  'a source': async (look) => {
    let left = 2
    const poll = source(orders, { everyMs: 1 }, async () => {
      await look()
      return left-- > 0 ? { n: left } : undefined
    })
    await started(createBinder({ service: 's', transport: memoryTransport(), bindings: [poll] }))
  },
  'an answer to a request': async (look) => {
    const question = defineChannel('question', { payload: Payload })
    const answers = defineChannel('answers', { payload: Payload })
    const answer = responder(question, answers, { group: 'g' }, async (payload) => {
      await look()
      return payload
    })
    const binder = await started(
      createBinder({ service: 's', transport: memoryTransport(), bindings: [answer], sends: [question] }),
    )
    await binder.send(question, { n: 1 })
  },
  'a binding that is stopped and started': async (look) => {
    const bindings = [sink(orders, { group: 'g', name: 'in' }, look)]
    const binder = await started(
      createBinder({ service: 's', transport: memoryTransport(), bindings, sends: [orders] }),
    )
    await binder.binding('in').stop()
    await binder.binding('in').start()
    await binder.send(orders, { n: 1 })
  },
  'a coordinator': async (look) => {
    const saga = defineSaga('inner', { version: 1, input: Payload })
      .step('one', { invoke: look, compensate: 'none' })
      .step('two', { invoke: look, compensate: 'none' })
    const service = createService({
      name: 'inner',
      schema: uniqueName('inner'),
      sql,
      transport: memoryTransport(),
      sagas: [saga],
    })
    await started(service)
    await service.run(saga, { id: 'a', input: { n: 1 } })
  },
  'a participant': async (look) => {
    const commands = defineChannel('commands', { payload: Payload })
    const saga = defineSaga('asks', { version: 1, input: Payload }) //
      .command('ask', { to: commands, request: ({ input }) => input, compensate: 'none' })
    const service = createService({
      name: 'asks',
      schema: uniqueName('asks'),
      sql,
      transport: memoryTransport(),
      sagas: [saga],
      bindings: [participant(commands, { group: 'p' }, { invoke: look, compensate: () => {} })],
    })
    await started(service)
    await service.run(saga, { id: 'a', input: { n: 1 } })
  },
  'an election': async (look, { server }) => {
    const locks = memoryLocks({ server })
    const election = createElection({ locks, role: 'r', onGranted: look, onRevoked: look })
    onTestFinished(async () => {
      await election.close()
      await locks.close()
    })
    election.start()
    await until('it leads', () => election.current() !== undefined)
    election.whileLeading(look)
  },
  'a job of a schedule': async (look, { server }) => {
    const locks = memoryLocks({ server })
    const election = createElection({ locks, role: 'r' })
    const schedule = createSchedule({ election, jobs: [{ name: 'j', everyMs: 10, work: look }], lastTick: () => 0 })
    onTestFinished(async () => {
      await schedule.close()
      await election.close()
      await locks.close()
    })
    election.start()
    schedule.start()
  },
  'an observer': async (look, { server }) => {
    const locks = memoryLocks({ server })
    const observer = createObserver({ locks, role: 'r', pollMs: 10 })
    onTestFinished(async () => {
      await observer.close()
      await locks.close()
    })
    observer.subscribe(() => void look())
    observer.start()
  },
  'watches of a cluster and of a state': async (look) => {
    const server = memoryStateServer()
    const store = memoryStateStore({ server })
    const membership = createMembership({ store, cluster: 'c', service: 's', instance: 'i' })
    const state = createSharedState({ store, name: 's' })
    onTestFinished(async () => {
      await membership.close()
      await state.close()
      await store.close()
    })
    membership.subscribe(() => void look())
    membership.watch(look)
    await state.mirror()
    state.watch(look)
    await membership.join()
    await state.put('k', 1)
  },
  'a bus': async (look) => {
    const ping = defineEvent('ping', { payload: Payload })
    const bus = createBus({ service: 'b', instance: 'i', on: [onEvent(ping, look)] })
    const binder = await started(
      createBinder({ service: 'b', transport: memoryTransport(), bindings: bus.bindings, sends: bus.channels }),
    )
    bus.config('rates', {
      schema: z.number(),
      initial: 0,
      load: async () => {
        await look()
        return { value: 1, version: 1 }
      },
    })
    onTestFinished(() => bus.close())
    await bus.start(binder)
    await bus.publish(ping, { n: 1 }, { to: '**' })
  },
}

/** Their own lease, which the work is to have. */
const LEADS: ReadonlySet<string> = new Set(['an election', 'a job of a schedule'])

describe.for(Object.keys(WORKS))('%s', (work) => {
  test.for(Object.keys(PLACES))(
    'started in %s carries no lease, step or transaction of it, but the user’s own values',
    async (place) => {
      const world = watcher()
      const goOn = gate()
      await user.run(STARTER, () =>
        PLACES[place]?.(world, async () => {
          await WORKS[work]?.(world.look, world)
          await until('it looked', () => world.seen.length > 0)
          goOn.open()
        }),
      )
      await goOn.opened
      await until('it looked', () => world.seen.length > 0)
      for (const each of world.seen) {
        if (LEADS.has(work)) expect(each.lease).toMatch(/r$/)
        else expect(each.lease).toBeUndefined()
        expect(each.headers).toEqual(LEADS.has(work) ? expect.any(Array) : [])
        expect(each.reenters).toBe(false)
        expect(each.isInTransaction).toBe(false)
        expect(each.saga).toBe(work === 'a coordinator' ? 'inner' : work === 'a participant' ? 'asks' : undefined)
      }
      expect(world.seen.map((each) => each.user)).toEqual(world.seen.map(() => STARTER))
    },
  )
})
