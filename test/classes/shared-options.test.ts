/**
 * Options that many parts share: logger, clock, database, server. Each part takes them from one definition, and refuses a wrong one with
 * a path that begins with its own name.
 */
import { createBinder, defineChannel, redrive } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { createMembership, createSharedState } from 'concordat/cluster'
import { pgListener } from 'concordat/core/pg'
import { createElection, createObserver, createSchedule } from 'concordat/election'
import { createFence } from 'concordat/locks'
import { memoryLocks, memoryStateServer, memoryStateStore, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks, postgresStateStore, postgresTokens, postgresTransport } from 'concordat/postgres'
import { redisFence, redisLocks, redisStateStore, redisTokens } from 'concordat/redis'
import { defineSaga, localTarget, participant } from 'concordat/saga'
import { createCoordinator, createShardedCoordinator } from 'concordat/saga/coordinator'
import { httpParticipants } from 'concordat/saga/http'
import { closeOnSignals } from 'concordat/service'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'

/** Cast for calls that plain JavaScript can make. */
const js = (value: unknown): never => value as never

const sql = { query: async () => ({ rows: [], rowCount: 0 }), transaction: async () => undefined }
const pool = { query: async () => ({}), connect: async () => ({}) }
const service = 'shop'
const outbox = createOutbox({ sql: js(sql), service })
const publisher = { publish: async () => [] }
const locks = memoryLocks()
const sagas = [defineSaga('s', { version: 1, input: z.object({}) }).step('a', { invoke: () => 1, compensate: 'none' })]
const orders = defineChannel('orders', { payload: z.object({}) })
const stock = participant(
  orders,
  { group: 'stock', sql: js(sql), outbox },
  { invoke: () => 1, compensate: () => undefined },
)
const election = { whileLeading: () => {} }
const at = { url: 'redis://127.0.0.1:1' }
const withSql = { sql }
/** Parts with the options that all parts share, and the other options that they need. */
const WITH_RUNTIME: ReadonlyArray<readonly [path: string, make: (options: never) => unknown, needs: object]> = [
  ['createBinder', createBinder, { service, transport: memoryTransport() }],
  ['createBus', createBus, { service }],
  ['createCoordinator', createCoordinator, { service, sql, outbox, sagas }],
  ['election("a")', createElection, { locks, role: 'a' }],
  ['observer("a")', createObserver, { locks, role: 'a' }],
  ['createSchedule', createSchedule, { election, jobs: [{ name: 'a', everyMs: 1_000, work: () => {} }] }],
  ['createInbox', createInbox, withSql],
  ['createRelay', createRelay, { outbox, publisher }],
  ['closeOnSignals', closeOnSignals, {}],
  ['pgListener', pgListener, { connect: () => ({}) }],
  ['locks', memoryLocks, {}],
  ['locks', postgresLocks, withSql],
  ['locks', redisLocks, at],
  ['redisFence', redisFence, at],
  ['redisStateStore', redisStateStore, at],
  ['postgresStateStore', postgresStateStore, withSql],
  ['membership("c")', createMembership, { store: memoryStateStore(), cluster: 'c', service }],
  ['sharedState("s")', createSharedState, { store: memoryStateStore(), cluster: 'c', name: 's' }],
  ['httpParticipants', (more: object) => httpParticipants([stock], js({ authorize: 'none', ...more })), {}],
  ['createShardedCoordinator', createShardedCoordinator, { service, sagas, shards: { a: { sql, outbox } } }],
  ['localTarget("orders")', (more: object) => localTarget(orders, stock, js(more)), {}],
]
const WITH_SQL: typeof WITH_RUNTIME = [
  ['createCoordinator', createCoordinator, { service, outbox, sagas }],
  ['createInbox', createInbox, {}],
  ['createOutbox', createOutbox, { service }],
  ['createFence', createFence, {}],
  ['postgresLocks', postgresLocks, {}],
  ['postgresStateStore', postgresStateStore, {}],
  ['postgresTokens', postgresTokens, {}],
  ['postgresTransport', postgresTransport, {}],
]
const WITH_REDIS: typeof WITH_RUNTIME = [
  ['redisFence', redisFence, {}],
  ['redisLocks', redisLocks, {}],
  ['redisStateStore', redisStateStore, {}],
  ['redisTokens', redisTokens, {}],
]

describe('an option that many parts share is refused by each, with its path:', () => {
  it.for(WITH_RUNTIME)('%s', ([path, make, needs]) => {
    expect(() => make(js({ ...needs, clock: Date }))).toThrow(`${path}.clock: expected a clock with now, monotonic`)
    expect(() => make(js({ ...needs, logger: console.log }))).toThrow(`${path}.logger: expected a logger with debug`)
  })

  it('a redrive, whose first argument has them', async () => {
    const run = (more: object): Promise<unknown> =>
      redrive(js({ service, transport: memoryTransport(), ...more }), orders, 'stock')
    await expect(run({ clock: Date })).rejects.toThrow('redrive.clock: expected a clock with now, monotonic')
    await expect(run({ logger: console.log })).rejects.toThrow('redrive.logger: expected a logger with debug')
  })

  it('a server of shared state in memory, which has a clock alone', () => {
    expect(() => memoryStateServer(js({ clock: Date }))).toThrow('memoryStateServer.clock: expected a clock with now')
  })

  it.for(WITH_SQL)('the database of %s', ([path, make, needs]) => {
    expect(() => make(js({ ...needs, sql: pool }))).toThrow(`${path}.sql: expected a SqlClient`)
    for (const schema of [5, '', 'a'.repeat(64)])
      expect(() => make(js({ ...needs, sql, schema }))).toThrow(`${path}.schema: expected 1 to 63 bytes`)
  })

  it.for(WITH_REDIS)('the server of %s', ([path, make, needs]) => {
    expect(() => make(js({ ...needs, ...at, client: {} }))).toThrow(`${path}: expected either client`)
    expect(() => make(js({ ...needs, ...at, answerMs: 1.5 }))).toThrow(`${path}.answerMs: expected a whole number`)
  })
})
