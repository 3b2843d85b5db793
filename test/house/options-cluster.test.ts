import { createMembership, createSharedState } from 'concordat/cluster'
import { memoryLocks, memoryStateServer, memoryStateStore } from 'concordat/memory'
import { postgresStateStore } from 'concordat/postgres'
import { redisStateStore } from 'concordat/redis'
import { describe, expect, it } from 'vitest'

/** Cast for calls that plain JavaScript can make: any function with any value. */
const js = (value: unknown): never => value as never

const url = 'redis://127.0.0.1:1'
const sql = { query: async () => ({ rows: [], rowCount: 0 }), transaction: async () => undefined }
const store = memoryStateStore()
const place = { store, cluster: 'c', service: 's' }
const membership = createMembership(place)
const state = createSharedState<unknown>({ store, name: 'n' })

const MISTAKES: ReadonlyArray<readonly [what: string, call: () => unknown, says: string]> = [
  ['an unknown option of redisStateStore', () => redisStateStore(js({ url, prefx: 'a' })), 'Did you mean "prefix"?'],
  [
    'redisStateStore without an address',
    () => redisStateStore({}),
    'expected either client (an ioredis instance) or url',
  ],
  ['redisStateStore at a web address', () => redisStateStore({ url: 'http://u:secret@x' }), 'begins with http://'],
  // ioredis turns such a name into database NaN, and then uses database 0.
  [
    'the name of a database',
    () => redisStateStore({ url: 'redis://u:secret@x/main' }),
    'url: expected the number of a database after the last slash',
  ],
  [
    'the same as a parameter',
    () => redisStateStore({ url: 'redis://x?db=main' }),
    'url: expected the number of a database',
  ],
  [
    'redisStateStore with no client',
    () => redisStateStore({ client: js({}) }),
    'redisStateStore.client: expected an ioredis',
  ],
  ['redisStateStore in a hurry', () => redisStateStore({ url, answerMs: 1 }), 'redisStateStore.answerMs'],
  ['redisStateStore without a prefix', () => redisStateStore({ url, prefix: '' }), 'redisStateStore.prefix'],
  ['an unknown option of postgresStateStore', () => postgresStateStore(js({ sql, shema: 'a' })), '"schema"?'],
  ['postgresStateStore on nothing', () => postgresStateStore(js({})), 'postgresStateStore.sql: expected a SqlClient'],
  [
    'postgresStateStore with a listener that is none',
    () => postgresStateStore({ sql: js(sql), listener: js(sql) }),
    'postgresStateStore.listener: expected a listener',
  ],
  ['an unknown option of memoryStateStore', () => memoryStateStore(js({ sever: 1 })), 'Did you mean "server"?'],
  [
    'a memoryStateStore on something else',
    () => memoryStateStore({ server: js({}) }),
    'what memoryStateServer() returns',
  ],
  ['an unknown option of memoryStateServer', () => memoryStateServer(js({ clok: 1 })), 'Did you mean "clock"?'],
  ['a membership on locks', () => createMembership({ ...place, store: js(memoryLocks()) }), 'a cluster store such as'],
  ['an unknown option of createMembership', () => createMembership(js({ ...place, heartbeat: 1 })), '"heartbeatMs"?'],
  ['a membership without a service', () => createMembership(js({ store, cluster: 'c' })), 'membership("c").service'],
  ['a membership of no cluster', () => createMembership(js({ store })), 'createMembership.cluster'],
  ['a rejoin that is no answer', () => createMembership({ ...place, rejoin: js('no') }), 'rejoin: expected true or'],
  ['an unknown option of join', () => membership.join(js({ sginal: 1 })), 'Did you mean "signal"?'],
  ['a watcher that is no function', () => membership.watch(js({})), 'membership("c").watch: expected a function'],
  ['an unknown option of events', () => membership.events(js({ after: 1 })), 'events.after: expected one of signal'],
  ['a state on a promise', () => createSharedState({ store: js(Promise.resolve()), name: 'n' }), '"await" missing'],
  ['an unknown option of createSharedState', () => createSharedState(js({ store, nam: 'n' })), 'Did you mean "name"?'],
  ['a schema that is none', () => createSharedState({ store, name: 'n', schema: js({}) }), 'a Standard Schema such as'],
  ['an unknown option of put', () => state.put('k', 1, js({ ifVerson: 1 })), 'Did you mean "ifVersion"?'],
  ['an unknown option of get', () => state.get('k', js({ ifVersion: 1 })), 'ifVersion: expected one of signal'],
  ['a version that is none', () => state.put('k', 1, { ifVersion: js('1') }), '.k.ifVersion: expected a whole number'],
  ['a check without a version', () => state.transact([js({ check: 'k' })]), '.k.ifVersion: expected a whole number'],
  [
    'a transaction that is no list',
    () => state.transact(js({ put: 'k' })),
    'transact: expected an array of operations',
  ],
  ['an operation that is none', () => state.transact([js(5)]), 'expected a non-empty string as key, got undefined'],
  ['a binding to nobody', () => state.put('k', 1, { boundTo: js('a') }), 'the state has no cluster'],
  ['a watch after a text', () => state.watch(() => {}, { after: js('1') }), 'watch.after: expected a whole number'],
  ['an unknown option of watch', () => state.watch(() => {}, js({ prefx: '' })), 'Did you mean "prefix"?'],
  ['an unknown option of mirror', () => state.mirror(js({ prefix: '' })), 'mirror.prefix: expected one of signal'],
]

describe('a mistake of the caller about cluster state is refused, with the expected value:', () => {
  it.for(MISTAKES)('%s', async ([, call, says]) => {
    const error = await (async () => call())().then(
      () => undefined,
      (caught: unknown) => caught,
    )
    expect(error).toBeInstanceOf(Error)
    expect(String(error)).toContain(says)
    expect(String(error)).not.toContain('secret')
  })
})
