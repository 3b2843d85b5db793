/**
 * A database with one connection, and a transaction on it. A statement from inside, outside of `tx`, would wait for the
 * transaction, and the transaction for it: each part refuses it at once. Work that only begins there and continues
 * afterwards is refused by none.
 */
import { defineChannel, sink } from 'concordat/binder'
import { createMembership, createSharedState } from 'concordat/cluster'
import { type SqlClient, type SqlTransaction, silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { createElection } from 'concordat/election'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { createService } from 'concordat/service'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../support/pglite.ts'
import { gate, until } from '../support/until.ts'

const OWN = 'core.sql_own_transaction'
/** Below every time limit of the parts: a call that waits for one of these fails the test. */
const AT_ONCE_MS = 1_500

const database = freshPglite()
const sql = pgliteClient(database)
const locks = postgresLocks({ sql, logger: silentLogger })
const store = postgresStateStore({ sql, logger: silentLogger })
const state = createSharedState({ store, name: 'state', logger: silentLogger })
const member = createMembership({ store, cluster: 'c', service: 's', instance: 'i', logger: silentLogger })
const outbox = createOutbox({ sql, service: 'own' })
const Payload = z.object({ n: z.number() })
const orders = defineChannel('orders', { payload: Payload, groups: ['g'] })
const saga = defineSaga('move', { version: 1, input: Payload })
  .signal('go', { payload: Payload })
  .step('last', { invoke: () => undefined, compensate: 'none' })
const charge = defineBranch('charge', { to: defineChannel('charges', { payload: Payload }) })
const both = defineGlobalTransaction('both', { input: Payload, branches: [charge] })
const coordinator = createCoordinator({ service: 'own', sql, outbox, sagas: [saga, both], logger: silentLogger })

beforeAll(async () => {
  await database.waitReady
  await sql.query('CREATE TABLE effects (n int)')
  await locks.migrate()
  await store.migrate()
  await outbox.migrate()
  await coordinator.migrate()
  await createInbox({ sql }).migrate()
  await coordinator.start(saga, { id: 'known', input: { n: 1 } })
  await coordinator.run()
}, 180_000)
afterAll(async () => {
  await coordinator.close()
  await member.close()
  await state.close()
  await store.close()
  await locks.close()
  await database.close()
})

/**
 * Outcome of a call made inside an open transaction: the code with which it is refused, `waits` when it is not settled.
 */
function inside(call: () => unknown, before: () => Promise<void> = async () => {}): Promise<unknown> {
  return sql.transaction(async (tx) => {
    await before()
    const waits = new Promise((resolve) => setTimeout(resolve, AT_ONCE_MS, 'waits'))
    const settled = Promise.resolve()
      .then(call)
      .then(() => 'resolves', codeOf)
    const outcome = await Promise.race([settled, waits])
    await tx.query('SELECT 1')
    return outcome
  })
}

/** The error with our code, in the error or its causes; else the error. */
function codeOf(error: unknown): unknown {
  for (let each = error; each instanceof Error; each = each.cause) if ('code' in each && each.code === OWN) return OWN
  return error
}

const key = { name: 'move', id: 'known' } as const
const note = { by: 'me', reason: 'a test' } as const

const CALLS: Readonly<Record<string, () => unknown>> = {
  'locks.acquire': () => locks.acquire('k'),
  'locks.acquire without waiting': () => locks.acquire('k', { waitMs: 0 }),
  'locks.tryAcquire': () => locks.tryAcquire('k'),
  'locks.using': () => locks.using('k', {}, () => 1),
  'locks.usingAll': () => locks.usingAll(['k', 'l'], {}, () => 1),
  'locks.inspect': () => locks.inspect('k'),
  'locks.list': () => locks.list(),
  'locks.transaction': () => locks.transaction('k', {}, () => 1),
  'locks.migrate': () => locks.migrate(),
  'state.get': () => state.get('k'),
  'state.put': () => state.put('k', 1),
  'state.update': () => state.update('k', () => 1),
  'state.entries': () => state.entries(),
  'state.mirror': () => state.mirror(),
  'membership.join': () => member.join(),
  'membership.ready': () => member.ready(),
  'election.leader': () => createElection({ locks, role: 'asked', onGranted: () => {} }).leader(),
  'coordinator.start': () => coordinator.start(saga, { id: 'a', input: { n: 1 } }),
  'coordinator.signal': () => coordinator.signal(saga, 'known', 'go', { n: 1 }),
  'coordinator.cancel': () => coordinator.cancel(key, note),
  'coordinator.report': () => coordinator.report(key),
  'coordinator.list': () => coordinator.list(),
  'coordinator.globalTransaction': () => coordinator.globalTransaction(both, { id: 'b', input: { n: 1 } }, () => 1),
  'coordinator.run': () => createCoordinator({ service: 'own', sql, outbox, sagas: [saga] }).run(),
  'run.outcome': () => coordinator.get(saga, 'known').outcome(),
  'run.report': () => coordinator.get(saga, 'known').report(),
  'outbox.stats': () => outbox.stats(),
  'outbox.parked': () => outbox.parked(),
  'relay.start': () => createRelay({ outbox, publisher: { publish: async () => [] } as never }).start(),
  'inbox.sweep': () => createInbox({ sql }).sweep(),
}

describe('inside a transaction of its own database', { timeout: 20_000 }, () => {
  test.for(Object.keys(CALLS))('%s is refused at once', async (name) => {
    expect(await inside(CALLS[name] as () => unknown)).toBe(OWN)
  })

  test.for(Object.keys(CALLS))('%s is refused at once while the same waits outside', async (name) => {
    const begun = gate()
    const may = gate()
    const refused = inside(CALLS[name] as () => unknown, () => {
      begun.open()
      return may.opened
    })
    await begun.opened
    // These calls queue behind the transaction; calls from inside it may not queue behind them.
    const outside = [state.get('k'), coordinator.get(saga, 'known').report(), locks.inspect('k'), outbox.stats()]
    const over = new AbortController()
    const waiting = coordinator.get(saga, 'known').outcome({ signal: over.signal })
    await new Promise((resolve) => setTimeout(resolve, 30))
    may.open()
    expect(await refused).toBe(OWN)
    await Promise.all(outside)
    over.abort()
    await expect(waiting).rejects.toThrow()
  })

  test('the stores are up afterwards, and a refused lock leaves nothing', async () => {
    await locks.inspect('k')
    await inside(() => locks.acquire('k'))
    await inside(() => state.put('k', 1))
    expect(locks.health()).toMatchObject({ status: 'up', held: 0, waiting: 0 })
    expect(store.health()).toMatchObject({ status: 'up' })
    const lease = await locks.acquire('k', { waitMs: 0 })
    expect(await lease.release()).toBe('released')
  })

  test('a lease is not given back, and is held as before', async () => {
    const lease = await locks.acquire('held', { ttlMs: 30_000 })
    expect(await inside(() => lease.release())).toBe(OWN)
    expect(lease.state).toBe('held')
    expect(await locks.tryAcquire('held')).toBeUndefined()
    expect(await lease.release()).toBe('released')
  })
})

/** The same client, with the statements that it refused. */
function observed() {
  const refused: string[] = []
  const query: SqlClient['query'] = (text, parameters) =>
    sql.query<never>(text, parameters).catch((error: unknown) => {
      if (codeOf(error) === OWN) refused.push(text)
      throw error
    })
  const isInTransaction = (): boolean => {
    const isInside = sql.isInTransaction?.() === true
    if (isInside) refused.push('before it was asked')
    return isInside
  }
  return { sql: { ...sql, query, isInTransaction }, refused }
}

/** Each starts something in the background over the client, and returns a function that ends it. */
const BEGINS: Readonly<Record<string, (client: SqlClient) => { close(): unknown }>> = {
  'a watch of a state': (client) => {
    const watched = createSharedState({
      store: postgresStateStore({ sql: client }),
      name: 'begun',
      logger: silentLogger,
    })
    watched.watch(() => {})
    return watched
  },
  'a watch of a state after a version': (client) => {
    const watched = createSharedState({
      store: postgresStateStore({ sql: client }),
      name: 'begun',
      logger: silentLogger,
    })
    watched.watch(() => {}, { after: 0 })
    return watched
  },
  'a watch of a cluster': (client) => {
    const fields = { cluster: 'begun', service: 's', instance: 'i', heartbeatMs: 50, logger: silentLogger }
    const membership = createMembership({ store: postgresStateStore({ sql: client }), ...fields })
    membership.watch(() => {})
    return membership
  },
  'an election': (client) => {
    const held = postgresLocks({ sql: client, logger: silentLogger })
    const election = createElection({ locks: held, role: 'begun', onGranted: () => {}, logger: silentLogger })
    election.start()
    return election
  },
  'the sweeps of an inbox': (client) => {
    const inbox = createInbox({ sql: client, sweepEveryMs: 20, logger: silentLogger })
    inbox.start()
    return inbox
  },
}

describe.for(Object.keys(BEGINS))('%s that begins inside a transaction', { timeout: 20_000 }, (name) => {
  test('is refused nothing during the transaction', async () => {
    const { sql: client, refused } = observed()
    const begun = await sql.transaction(async (tx) => {
      const part = BEGINS[name]?.(client)
      await tx.query('SELECT pg_sleep(0.05)')
      await new Promise((resolve) => setTimeout(resolve, 250))
      return part
    })
    expect(refused).toEqual([])
    await begun?.close()
  })
})

describe('work that begins inside a transaction and outlives it', { timeout: 20_000 }, () => {
  test('a lease that was taken before is renewed', async () => {
    const lease = await locks.acquire('renewed', { ttlMs: 900 })
    await sql.transaction(async (tx) => {
      lease.assertValid()
      await tx.query('SELECT pg_sleep(0.4)')
    })
    const until900 = Date.now() + 1_200
    await until('its first time is over', () => Date.now() > until900)
    expect(lease.state).toBe('held')
    await lease.release()
  })

  test('a watch receives changes after the commit', async () => {
    const heard: unknown[] = []
    const watched = createSharedState({ store, name: 'watched' })
    onTestFinished(() => watched.close())
    await sql.transaction(async (tx) => {
      watched.watch((event) => void heard.push(event.type))
      await tx.query('SELECT 1')
    })
    await until('it has read', () => heard.includes('snapshot'))
    await watched.put('k', 1)
    await until('it hears', () => heard.includes('change'))
  })

  test('an election leads after it', async () => {
    const election = createElection({ locks, role: 'led', onGranted: () => {}, logger: silentLogger })
    onTestFinished(() => election.close())
    await sql.transaction(async (tx) => {
      election.start()
      await tx.query('SELECT pg_sleep(0.1)')
    })
    await until('it leads', () => election.current() !== undefined)
    expect(election.status().error).toBeUndefined()
  })

  test('a saga started with `tx` continues after the commit', async () => {
    const run = await sql.transaction(async (tx) => {
      const started = await coordinator.start(tx, saga, { id: 'joined', input: { n: 1 } })
      await tx.query('SELECT 1')
      return started
    })
    await coordinator.signal(saga, 'joined', 'go', { n: 1 })
    expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
  })
})

/** Creates a service on the log, whose handler calls `handle`. */
async function serviceWith(
  name: string,
  handle: (tx: SqlTransaction) => Promise<unknown>,
  how: object,
  transactional = false,
) {
  const seen: unknown[] = []
  const jobs = defineChannel(`${name}.jobs`, { payload: Payload, groups: ['g'], transactional })
  const plain = defineChannel(`${name}.plain`, { payload: Payload, groups: ['g'] })
  const got: number[] = []
  const service = createService({
    name,
    schema: name,
    sql,
    transport: postgresTransport({ sql, schema: name, pollMs: 20 }),
    logger: silentLogger,
    bindings: [
      sink(jobs, { group: 'g', maxAttempts: 1, ...how }, async (_, context) => {
        const { tx } = context as unknown as { readonly tx: SqlTransaction }
        const outcome = await handle(tx).then(
          () => 'done',
          (error: { code?: string }) => error.code,
        )
        seen.push(outcome)
      }),
      sink(plain, { group: 'g' }, ({ n }) => void got.push(n)),
    ],
    sends: [jobs, plain],
  })
  await service.start()
  onTestFinished(() => service.close())
  return { service, jobs, plain, seen, got }
}

describe('a handler whose delivery has a transaction', { timeout: 60_000 }, () => {
  test.for([
    ['settles', { once: true }, true],
    ['remembers', { once: true }, false],
    ['shares', { once: true, concurrency: 4, sharesTransactions: true }, false],
  ] as const)('that %s is refused its raw `sql`, and may use `tx`', async ([name, how, transactional]) => {
    const { service, jobs, seen } = await serviceWith(
      `own_${name}`,
      async (tx) => {
        await tx.query('INSERT INTO effects VALUES (1)')
        return sql.query('INSERT INTO effects VALUES (2)')
      },
      how,
      transactional,
    )
    await service.transaction((tx) => tx.send(jobs, { n: 1 }))
    await until('it was handled', () => seen.length > 0)
    expect(seen[0]).toBe(OWN)
  })

  test('cannot send past it, while others can', async () => {
    const { service, plain, got } = await serviceWith('own_sends', async () => undefined, { once: true })
    await service.send(plain, { n: 0 })
    let outside: Promise<unknown> | undefined
    const begun = gate()
    const inTransaction = begun.opened.then(() => inside(() => service.send(plain, { n: 1 })))
    begun.open()
    outside = service.send(plain, { n: 2 })
    expect(await inTransaction).toBe(OWN)
    await outside
    await service.transaction((tx) => tx.send(plain, { n: 3 }))
    await until('they are there', () => got.includes(2) && got.includes(3))
    expect(got).not.toContain(1)
  })
})

test('memory channels are sent to from inside', async () => {
  const service = createService({
    name: 'memory',
    schema: 'memory',
    sql,
    transport: memoryTransport(),
    sends: [orders],
  })
  await service.start()
  onTestFinished(() => service.close())
  expect(await inside(() => service.send(orders, { n: 1 }))).toBe('resolves')
})
