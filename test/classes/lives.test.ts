/**
 * A rule for every part with a start and a close. After its close, and when its close overtakes it, a start rejects
 * with the part's own error. A second start leaves the part started. A close runs once, also for a part that was never
 * started.
 */
import { createBinder, defineChannel } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { createMembership, createSharedState } from 'concordat/cluster'
import { type SqlClient, silentLogger } from 'concordat/core'
import { createElection, createObserver, createSchedule } from 'concordat/election'
import { createTokens } from 'concordat/locks'
import { memoryLocks, memoryStateStore, memoryTokens, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks, postgresTransport } from 'concordat/postgres'
import { defineSaga } from 'concordat/saga'
import { createCoordinator, createShardedCoordinator } from 'concordat/saga/coordinator'
import { createService } from 'concordat/service'
import { createTestKit } from 'concordat/testing'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { worlds } from '../saga/support/running-world.ts'
import { embedded } from '../saga/support/world.ts'

worlds()

const logger = silentLogger
const saga = defineSaga('buy', { version: 1, input: z.object({}) }).step('pay', {
  invoke: () => undefined,
  compensate: 'none',
})

interface Part {
  readonly start: () => unknown
  readonly close: () => Promise<unknown>
  /** Whether the part works as a started part does. */
  readonly isStarted: () => boolean
}

interface Kind {
  /** Code of the error of a closed part. */
  readonly closed: string
  readonly make: (sql: SqlClient) => Part | Promise<Part>
  /** Start that begins in the background and returns at once, so that no close can overtake it. */
  readonly isAtOnce?: true
}

const isUp = (part: { health(): { readonly status: string } }) => () =>
  ['up', 'degraded'].includes(part.health().status)
const election = () => createElection({ locks: memoryLocks(), role: 'r', instance: 'i', logger })
const schema = (name: string) => `lives_${name}`
const outboxOf = (sql: SqlClient, name: string) =>
  createOutbox({ sql, service: 'shop', schema: schema(name), partitions: 1 })

const PARTS: Readonly<Record<string, Kind>> = {
  'binder on memory': {
    closed: 'binder.closed',
    make: () => {
      const binder = createBinder({ service: 'shop', transport: memoryTransport(), logger })
      return { start: () => binder.start(), close: () => binder.close(), isStarted: isUp(binder) }
    },
  },
  'binder on PostgreSQL': {
    closed: 'binder.closed',
    make: (sql) => {
      const transport = postgresTransport({ sql, schema: schema('binder') })
      const binder = createBinder({ service: 'shop', transport, logger })
      return { start: () => binder.start(), close: () => binder.close(), isStarted: isUp(binder) }
    },
  },
  coordinator: {
    closed: 'saga.closed',
    make: async (sql) => {
      const outbox = outboxOf(sql, 'coordinator')
      const coordinator = createCoordinator({
        service: 'shop',
        sql,
        outbox,
        schema: outbox.schema,
        sagas: [saga],
        logger,
      })
      await outbox.migrate()
      await coordinator.migrate()
      return { start: () => coordinator.run(), close: () => coordinator.close(), isStarted: isUp(coordinator) }
    },
  },
  'sharded coordinator': {
    closed: 'saga.closed',
    make: async (sql) => {
      const outbox = outboxOf(sql, 'shards')
      const coordinator = createShardedCoordinator({
        service: 'shop',
        shards: { a: { sql, outbox, schema: outbox.schema } },
        sagas: [saga],
        logger,
      })
      await outbox.migrate()
      await coordinator.migrate()
      return { start: () => coordinator.run(), close: () => coordinator.close(), isStarted: isUp(coordinator) }
    },
  },
  relay: {
    closed: 'outbox.closed',
    make: async (sql) => {
      const outbox = outboxOf(sql, 'relay')
      await outbox.migrate()
      const publisher = createBinder({ service: 'shop', transport: memoryTransport(), logger })
      await publisher.start()
      onTestFinished(() => publisher.close())
      const relay = createRelay({ outbox, publisher, logger })
      return { start: () => relay.start(), close: () => relay.close(), isStarted: isUp(relay) }
    },
  },
  inbox: {
    closed: 'outbox.closed',
    isAtOnce: true,
    make: (sql) => {
      const inbox = createInbox({ sql, schema: schema('inbox'), logger })
      return { start: () => inbox.start(), close: () => inbox.close(), isStarted: () => true }
    },
  },
  bus: {
    closed: 'bus.closed',
    make: async () => {
      const bus = createBus({ service: 'shop', logger })
      const binder = createBinder({
        service: 'shop',
        transport: memoryTransport(),
        bindings: bus.bindings,
        sends: bus.channels,
        logger,
      })
      await binder.start()
      onTestFinished(() => binder.close())
      return {
        start: () => bus.start(binder),
        close: () => bus.close(),
        isStarted: () => bus.health().status !== 'idle',
      }
    },
  },
  election: {
    closed: 'election.closed',
    isAtOnce: true,
    make: () => {
      const part = election()
      return { start: () => part.start(), close: () => part.close(), isStarted: isUp(part) }
    },
  },
  schedule: {
    closed: 'election.closed',
    isAtOnce: true,
    make: () => {
      const jobs = [{ name: 'j', everyMs: 1_000, work: () => undefined }]
      const part = createSchedule({ election: election(), jobs, logger })
      return { start: () => part.start(), close: () => part.close(), isStarted: isUp(part) }
    },
  },
  observer: {
    closed: 'election.closed',
    isAtOnce: true,
    make: () => {
      const part = createObserver({ locks: memoryLocks(), role: 'r', logger })
      return { start: () => part.start(), close: () => part.close(), isStarted: isUp(part) }
    },
  },
  membership: {
    closed: 'cluster.closed',
    make: () => {
      const part = createMembership({ store: memoryStateStore(), cluster: 'c', service: 's', instance: 'i', logger })
      return { start: () => part.join(), close: () => part.close(), isStarted: isUp(part) }
    },
  },
  'shared state': {
    closed: 'cluster.closed',
    make: () => {
      const part = createSharedState({ store: memoryStateStore(), name: 'prices', logger })
      return { start: () => part.get('k'), close: () => part.close(), isStarted: isUp(part) }
    },
  },
  service: {
    closed: 'service.closed',
    make: (sql) => {
      const service = createService({
        name: 'shop',
        transport: memoryTransport(),
        sql,
        schema: schema('service'),
        locks: postgresLocks({ sql, schema: schema('service') }),
        sagas: [saga],
        leads: { nightly: () => undefined },
        bus: ({ service: name, instance }) => createBus({ service: name, instance, logger }),
        logger,
      })
      return {
        start: () => service.start(),
        close: () => service.close(),
        isStarted: isUp(service),
      }
    },
  },
}

/** Without a start, the same of the first call. */
const CALLED: Readonly<Record<string, Kind>> = {
  'test kit': {
    closed: 'binder.closed',
    make: async () => {
      const kit = await createTestKit({ bindings: [] })
      const send = () => kit.send(defineChannel('orders', { payload: z.string() }), 'x')
      return { start: send, close: () => kit.close(), isStarted: isUp(kit.binder) }
    },
  },
  locks: {
    closed: 'locks.closed',
    make: () => {
      const locks = memoryLocks()
      return { start: () => locks.tryAcquire('k'), close: () => locks.close(), isStarted: () => true }
    },
  },
  'locks on PostgreSQL': {
    closed: 'locks.closed',
    make: async (sql) => {
      const locks = postgresLocks({ sql, schema: schema('locks') })
      await locks.migrate()
      return { start: () => locks.tryAcquire('k'), close: () => locks.close(), isStarted: () => true }
    },
  },
  tokens: {
    closed: 'tokens.closed',
    make: () => {
      const tokens = createTokens({ store: memoryTokens() })
      return { start: () => tokens.issue('reset', {}, 1_000), close: () => tokens.close(), isStarted: () => true }
    },
  },
}

async function outcomeOf(call: () => unknown): Promise<unknown> {
  try {
    await call()
    return 'resolved'
  } catch (error) {
    return (error as { code?: unknown }).code ?? error
  }
}

beforeAll(() => embedded().query('SELECT 1'), 120_000)

describe.each(Object.entries({ ...PARTS, ...CALLED }))('%s', (name, { closed, make, isAtOnce }) => {
  const setup = async (): Promise<Part> => {
    const part = await make(embedded())
    onTestFinished(() => void part.close())
    return part
  }

  test('rejects a start after its close with its own error', async () => {
    const part = await setup()
    expect(await outcomeOf(part.start)).toBe('resolved')
    await part.close()
    expect(await outcomeOf(part.start)).toBe(closed)
  })

  test('rejects a start after the close of one that was never started', async () => {
    const part = await setup()
    await part.close()
    expect(await outcomeOf(part.start)).toBe(closed)
  })

  test('rejects a start while it closes', async () => {
    const part = await setup()
    await part.start()
    const closing = part.close()
    expect(await outcomeOf(part.start)).toBe(closed)
    await closing
  })

  test('closes once for any number of calls', async () => {
    const part = await setup()
    await part.start()
    expect(await outcomeOf(() => Promise.all([part.close(), part.close()]))).toBe('resolved')
    expect(await outcomeOf(part.close)).toBe('resolved')
  })

  test('is still started after a second start, which may reject', async () => {
    const part = await setup()
    await part.start()
    expect(['resolved', closed]).toContain(await outcomeOf(part.start))
    await expect.poll(part.isStarted).toBe(true)
  })

  // A call that is under way when its part is closed has the outcome that it has.
  if (isAtOnce === true || name in CALLED) return
  test('rejects a start that its close overtakes, and stays closed', async () => {
    const part = await setup()
    const starting = outcomeOf(part.start)
    await part.close()
    expect(await starting).toBe(closed)
    expect(await outcomeOf(part.start)).toBe(closed)
  })
})

test('a relay whose start failed for missing tables starts once they exist', async () => {
  const outbox = outboxOf(embedded(), 'late_tables')
  const publisher = createBinder({ service: 'shop', transport: memoryTransport(), logger })
  await publisher.start()
  onTestFinished(() => publisher.close())
  const relay = createRelay({ outbox, publisher, logger })
  onTestFinished(() => relay.close())
  expect(await outcomeOf(() => relay.start())).toBe('core.tables_missing')
  await outbox.migrate()
  await relay.start()
  await expect.poll(() => relay.health().partitions).toEqual([0])
})
