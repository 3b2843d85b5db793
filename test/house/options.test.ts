import { createBinder, defineChannel } from 'concordat/binder'
import { createBus, defineEvent, onEvent, Refresh } from 'concordat/bus'
import { migrate } from 'concordat/core'
import { kyselyClient } from 'concordat/core/orms'
import { pgClient, pgListener } from 'concordat/core/pg'
import { pgliteClient } from 'concordat/core/pglite'
import { createElection, createObserver, createSchedule } from 'concordat/election'
import { createFence } from 'concordat/locks'
import { memoryLocks, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks } from 'concordat/postgres'
import { redisFence, redisLocks, redlockLocks } from 'concordat/redis'
import { defineSaga, migrateParticipant, participant } from 'concordat/saga'
import { createCoordinator, createShardedCoordinator } from 'concordat/saga/coordinator'
import { closeOnSignals } from 'concordat/service'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { resolveBackoff } from '../support/inside/core.ts'
import { freshPglite } from '../support/pglite.ts'

/** Cast for calls that plain JavaScript can make: any function with any value. */
const js = (value: unknown): never => value as never

interface Mistake {
  readonly what: string
  readonly call: () => unknown
  readonly says: string
}

const mistake = (what: string, call: () => unknown, says: string): Mistake => ({ what, call, says })

const sql = { query: async () => ({ rows: [], rowCount: 0 }), transaction: async () => undefined }
const pool = { query: async () => ({}), connect: async () => ({}), on: () => undefined }

const CORE: readonly Mistake[] = [
  mistake('an unknown option of backoff', () => resolveBackoff('retry', js({ maxms: 5 })), 'Did you mean "maxMs"?'),
  mistake('backoff that is no object', () => resolveBackoff('retry', js(5)), 'retry: expected an object of options'),
  mistake(
    'backoff that is a list',
    () => resolveBackoff('retry', js([])),
    'expected an object of options, got an array',
  ),
  mistake('an unknown option of pgClient', () => pgClient(js(pool), js({ log: 1 })), 'pgClient.log: expected one of'),
  mistake('pgClient of an address', () => pgClient(js('postgres://u:secret@h/d')), 'new pg.Pool({ connectionString })'),
  mistake('pgClient of nothing', () => pgClient(js(undefined)), 'pgClient: expected a pool'),
  mistake('an unknown option of pgListener', () => pgListener(js({ conect: 1 })), 'Did you mean "connect"?'),
  mistake('pgListener without connect', () => pgListener(js({})), 'pgListener.connect: expected a function such as'),
  mistake('pgliteClient of nothing', () => pgliteClient(js({})), 'pgliteClient: expected a PGlite'),
  mistake(
    'pgliteClient of a promise',
    () => pgliteClient(js(Promise.resolve())),
    'got a promise: is an "await" missing?',
  ),
  mistake('kyselyClient of a pool', () => kyselyClient(js(pool)), 'kyselyClient: expected a Kysely'),
  mistake('migrate on a pool', () => migrate(js(pool), 's', 'p', []), 'expected a SqlClient such as pgClient(pool)'),
]

const locks = memoryLocks()
const url = 'redis://127.0.0.1:1'

const LOCKS: readonly Mistake[] = [
  mistake('an unknown option of redisLocks', () => redisLocks(js({ url, prefx: 'a' })), 'Did you mean "prefix"?'),
  mistake(
    'an unknown option of the replicas of redisLocks',
    () => redisLocks({ url, replicas: js({ cout: 1 }) }),
    'Did you mean "count"?',
  ),
  mistake('permits beside a mode', () => locks.acquire('k', { mode: 'shared', permits: 2 }), 'no mode beside permits'),
  mistake('a mode that does not exist', () => locks.acquire('k', js({ mode: 'write' })), 'one of exclusive, shared'),
  mistake('a key twice', () => locks.acquireAll(['a', 'b', 'a']), 'each key once, got "a" twice'),
  mistake('one text for keys', () => locks.acquireAll(js('ab')), 'acquireAll: expected an array of at least one key'),
  mistake('a forced release by nobody', () => locks.forceRelease('k', js({ reason: 'x' })), 'forceRelease("k").by'),
  mistake('a forced release without why', () => locks.forceRelease('k', js({ by: 'x' })), 'forceRelease("k").reason'),
  mistake('an unknown option of list', () => locks.list(js({ prefx: 'a' })), 'Did you mean "prefix"?'),
  mistake('redisLocks at a web address', () => redisLocks({ url: 'http://u:secret@x' }), 'begins with http://'),
  mistake(
    'redisLocks at a bare host',
    () => redisLocks({ url: 'localhost:6379' }),
    'redisLocks.url: expected redis://',
  ),
  mistake('redisLocks with no client', () => redisLocks({ client: js({}) }), 'redisLocks.client: expected an ioredis'),
  mistake('an unknown option of redisFence', () => redisFence(js({ url, prefx: 'a' })), 'Did you mean "prefix"?'),
  mistake('redisFence with no client', () => redisFence({ client: js({}) }), 'redisFence.client: expected an ioredis'),
  mistake('an unknown option of redlockLocks', () => redlockLocks(js({ url })), 'Did you mean "urls"?'),
  mistake(
    'redlockLocks with no servers',
    () => redlockLocks({}),
    'expected either clients (ioredis instances) or urls',
  ),
  mistake('redlockLocks at one address', () => redlockLocks({ urls: js(url) }), 'redlockLocks.urls: expected a list'),
  mistake(
    'redlockLocks at a web address',
    () => redlockLocks({ urls: ['redis://a', 'http://u:secret@x', 'redis://c'] }),
    'redlockLocks.urls[1].url: expected redis://user:password@host:port/database or rediss://..., got something that begins',
  ),
  mistake('an unknown option of postgresLocks', () => postgresLocks(js({ sql, shema: 'a' })), 'Did you mean "schema"?'),
  mistake('postgresLocks on a pool', () => postgresLocks({ sql: js(pool) }), 'postgresLocks.sql: expected a SqlClient'),
  mistake(
    'postgresLocks with a listener that is none',
    () => postgresLocks({ sql: js(sql), listener: js(pool) }),
    'postgresLocks.listener: expected a listener such as pgListener',
  ),
  mistake('an unknown option of memoryLocks', () => memoryLocks(js({ ownr: 'a' })), 'Did you mean "owner"?'),
  mistake('an unknown option of acquire', () => locks.acquire('k', js({ ttl: 5_000 })), 'Did you mean "ttlMs"?'),
  mistake(
    'an unknown option of tryAcquire',
    () => locks.tryAcquire('k', js({ ttl: 5_000 })),
    'lock("k").ttl: expected',
  ),
  mistake(
    'a ttl that is no option of using',
    () => locks.using('k', js(5_000), () => 1),
    'expected an object of options',
  ),
  mistake('an unknown option of createFence', () => createFence(js({ sql, shema: 'a' })), 'Did you mean "schema"?'),
  mistake('createFence on a pool', () => createFence({ sql: js(pool) }), 'createFence.sql: expected a SqlClient'),
  mistake('an unknown option of createElection', () => createElection(js({ locks, rol: 'a' })), 'Did you mean "role"?'),
  mistake(
    'an instance that is no well-formed text',
    () => createElection({ locks, role: 'a', instance: '\ud800' }),
    'instance: expected well-formed text',
  ),
  mistake(
    'an unknown option of createObserver',
    () => createObserver(js({ locks, role: 'a', poll: 5 })),
    'Did you mean "pollMs"?',
  ),
  mistake(
    'an unknown option of createSchedule',
    () => createSchedule(js({ election: { whileLeading: () => {} }, job: [] })),
    'Did you mean "jobs"?',
  ),
  mistake(
    'an unknown option of closeOnSignals',
    () => closeOnSignals(js({ elections: [], signal: 1 })),
    'Did you mean "signals"?',
  ),
  mistake('an election without locks', () => createElection(js({ role: 'a' })), 'createElection.locks: expected locks'),
]

const payload = z.object({})
const service = 'shop'
const orders = defineChannel('orders', { payload })
const outbox = createOutbox({ sql: js(sql), service: 'shop' })
const tx = js({ inTransaction: true, query: sql.query })
const publisher = { publish: async () => [] }

const OUTBOX: readonly Mistake[] = [
  mistake(
    'an unknown option of createOutbox',
    () => createOutbox(js({ sql, service: 'a', partition: 8 })),
    'createOutbox.partition: expected one of sql, schema, service, partitions, maxPayloadBytes, notifyEveryMs, headers, telemetry, transport, ' +
      'got "partition". Did you mean "partitions"?',
  ),
  mistake(
    'createOutbox on a promise',
    () => createOutbox({ sql: js(Promise.resolve()), service: 'a' }),
    '"await" missing',
  ),
  mistake(
    'createOutbox without sql',
    () => createOutbox(js({ service: 'a' })),
    'createOutbox.sql: expected a SqlClient',
  ),
  mistake(
    'outbox.add without a transaction',
    () => outbox.add(js(orders), js({}), js({})),
    'outbox.add(tx, channel, payload)',
  ),
  mistake('outbox.add on the client', () => outbox.add(js(sql), orders, {}), 'expected the open transaction first'),
  mistake(
    'outbox.add to a name',
    () => outbox.add(tx, js('orders'), js({})),
    'outbox.add: expected what defineChannel returned, got "orders"',
  ),
  mistake(
    'an unknown option of createRelay',
    () => createRelay(js({ outbox, publisher, lease: 1 })),
    'Did you mean "leaseMs"?',
  ),
  mistake(
    'createRelay without an outbox',
    () => createRelay(js({ publisher })),
    'createRelay.outbox: expected what createOutbox',
  ),
  mistake('createRelay without a binder', () => createRelay(js({ outbox })), 'such as a binder'),
  mistake(
    'an unknown option of createInbox',
    () => createInbox(js({ sql, retention: 1 })),
    'Did you mean "retentionMs"?',
  ),
  mistake('createInbox on a pool', () => createInbox({ sql: js(pool) }), 'createInbox.sql: expected a SqlClient'),
  mistake(
    'createInbox with no outbox',
    () => createInbox({ sql: js(sql), outbox: js({}) }),
    'createInbox.outbox: expected',
  ),
]

const saga = defineSaga('s', { version: 1, input: payload })
const step = { invoke: () => 1, compensate: 'none' }
const sagas = [saga.step('a', js(step))]
const coordinator = (more: object) => createCoordinator(js({ service, sql, outbox, sagas, ...more }))
const side = { group: 'stock', sql: js(sql), outbox }
const handlers = { invoke: () => 1, compensate: () => undefined }

const SAGA: readonly Mistake[] = [
  mistake(
    'an unknown option of defineSaga',
    () => defineSaga('s', js({ version: 1, inpt: 1 })),
    'Did you mean "input"?',
  ),
  mistake(
    'an unknown option of a step',
    () => saga.step('a', js({ ...step, timeout: 1 })),
    'Did you mean "timeoutMs"?',
  ),
  mistake(
    'an unknown option of its retry',
    () => saga.step('a', js({ ...step, retry: { attempts: 1 } })),
    '.retry.attempts: expected one of maxAttempts',
  ),
  mistake(
    'a command to a name',
    () => saga.command('a', js({ to: 'orders', request: () => 1 })),
    '.to: expected what defineChannel returned, got "orders"',
  ),
  mistake(
    'an unknown option of a command',
    () => saga.command('a', js({ to: orders, transactional: true })),
    '.transactional: expected one of',
  ),
  mistake(
    'an unknown option of createCoordinator',
    () => createCoordinator(js({ service, sql, outbox, sagas, poll: 1 })),
    'Did you mean "pollMs"?',
  ),
  mistake(
    'createCoordinator on a pool',
    () => createCoordinator(js({ service, sql: pool, outbox, sagas })),
    'createCoordinator.sql: expected a SqlClient',
  ),
  ...['archive', 'onStuck', 'onLate'].map((name) =>
    mistake(`${name} that is text`, () => coordinator({ [name]: 'log' }), `.${name}: expected a function`),
  ),
  mistake('an instance with a NUL', () => coordinator({ instance: 'a\0b' }), '.instance: expected text without NUL'),
  mistake('a step named __proto__', () => saga.step('__proto__', js(step)), 'step: expected another name than'),
  mistake(
    'an unknown option of createShardedCoordinator',
    () => createShardedCoordinator(js({ service, sagas, shards: { a: { sql, outbox } }, poll: 1 })),
    'Did you mean "pollMs"?',
  ),
  mistake(
    'createShardedCoordinator with a database beside the shards',
    () => createShardedCoordinator(js({ service, sql, outbox, sagas, shards: {} })),
    'createShardedCoordinator.sql: expected one of',
  ),
  mistake(
    'createShardedCoordinator without shards',
    () => createShardedCoordinator(js({ service, sagas, shards: {} })),
    'createShardedCoordinator.shards: expected at least one shard',
  ),
  mistake(
    'a shard with a name that is none',
    () => createShardedCoordinator(js({ service, sagas, shards: { 'a b': { sql, outbox } } })),
    'names of 1 to 40 letters',
  ),
  mistake(
    'an unknown option of a shard',
    () => createShardedCoordinator(js({ service, sagas, shards: { a: { sql, outbox, shema: 'a' } } })),
    'createShardedCoordinator.shards.a.shema: expected one of',
  ),
  mistake(
    'a shard on a pool',
    () => createShardedCoordinator(js({ service, sagas, shards: { a: { sql: pool, outbox } } })),
    'createShardedCoordinator.shards.a.sql: expected a SqlClient',
  ),
  mistake(
    'two shards with one reply channel',
    () =>
      createShardedCoordinator(
        js({ service, sagas, shards: { a: { sql, outbox, service }, b: { sql: { ...sql }, outbox, service } } }),
      ),
    'a `service` for each shard, none twice',
  ),
  mistake(
    'two shards in one schema',
    () => createShardedCoordinator(js({ service, sagas, shards: { a: { sql, outbox }, b: { sql, outbox } } })),
    'a database for each shard',
  ),
  mistake(
    'an unknown option of participant',
    () => participant(orders, js({ ...side, onFailure: 'halt' }), handlers),
    '.onFailure: expected one of group',
  ),
  mistake(
    'a participant on a pool',
    () => participant(orders, { ...side, sql: js(pool) }, handlers),
    'participant("orders").sql: expected a SqlClient',
  ),
  mistake(
    'a participant of a name',
    () => participant(js('orders'), side, handlers),
    'participant: expected what defineChannel returned',
  ),
  mistake(
    'migrateParticipant on a pool',
    () => migrateParticipant(js(pool)),
    'migrateParticipant: expected a SqlClient',
  ),
]

const handle = (): void => {}

const bus = createBus({ service })
const short = 'short-secret'

const BUS: readonly Mistake[] = [
  mistake('an unknown option of createBus', () => createBus(js({ service, secrets: 'x' })), 'Did you mean "secret"?'),
  mistake(
    'a bus of a service that is no name',
    () => createBus({ service: 'a:b' }),
    'createBus.service: expected a name',
  ),
  mistake(
    'a handler that was not made by onEvent',
    () => createBus({ service, on: js([handle]) }),
    'createBus.on[0]: ',
  ),
  mistake(
    'members that are no function',
    () => createBus({ service, members: js([]) }),
    'createBus.members: expected a',
  ),
  mistake('an unknown option of defineEvent', () => defineEvent('e', js({ payload, to: 1 })), 'defineEvent("e").to: '),
  mistake('an event with a name of ours', () => defineEvent('concordat.x', { payload }), 'not "concordat..."'),
  mistake('an event without a schema', () => defineEvent('e', js({ payload: {} })), 'a Standard Schema such as'),
  mistake('a handler of a name', () => onEvent(js('refresh'), handle), 'onEvent: expected what defineEvent returned'),
  mistake('a handler that is none', () => bus.on(Refresh, js('x')), 'handler: expected a function'),
  mistake('a config without a schema', () => bus.config('rates', js({ initial: 1 })), '.schema: expected a Standard'),
  mistake('a config without a beginning', () => bus.config('rates', js({ schema: payload })), '.initial: expected'),
  mistake(
    'an unknown option of a config',
    () => bus.config('rates', js({ schema: payload, initial: {}, lod: handle })),
    'Did you mean "load"?',
  ),
  mistake('a bus on no binder', () => bus.start(js({})), 'bus.start: expected a binder made with bindings'),
  mistake(
    'a bus on a binder without its bindings',
    () => bus.start(createBinder({ service, transport: memoryTransport() })),
    'the binder lacks "concordat.bus.events"',
  ),
]

describe('a mistake of the caller is refused, with the expected value:', () => {
  it.for(CORE)('core: $what', ({ call, says }) => refused(call, says))
  it.for(OUTBOX)('outbox: $what', ({ call, says }) => refused(call, says))
  it.for(SAGA)('saga: $what', ({ call, says }) => refused(call, says))
  it.for(BUS)('bus: $what', ({ call, says }) => refused(call, says))
  it.for(LOCKS)('locks: $what', ({ call, says }) => refused(call, says))

  it('core: migrate on a bare PGlite', async () => {
    const bare = freshPglite()
    await refused(() => migrate(js(bare), 's', 'p', []), 'expected a SqlClient such as pgClient(pool)')
    await bare.close()
  })
})

it('an options error never shows the content of a value that may hold a password', () => {
  expect(() => pgClient(js('postgres://u:secret@h/d'))).toThrow(/got a string$/)
})

it('an options error never shows a secret, only its length', () => {
  for (const secret of [short, [short]] as const) {
    const call = (): unknown => createBus({ service, secret })
    expect(call).toThrow(/^createBus\.secret(\[0\])?: expected at least 32 bytes, got 12: make one with/)
    expect(call).not.toThrow(short)
  }
})

async function refused(call: () => unknown, says: string): Promise<void> {
  const error = await (async () => call())().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(TypeError)
  expect((error as TypeError).message).toContain(says)
}
