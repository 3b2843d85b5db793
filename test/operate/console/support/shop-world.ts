/** A shop on PGlite with everything that waits for a person: stuck sagas, dead letters, a parked message, locks, a leader. */

import { createOperator, type Operator } from '@concordat/cli'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { createMembership } from 'concordat/cluster'
import { ConcordatError, type SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { createElection } from 'concordat/election'
import { type Describable } from 'concordat/operator'
import { createOutbox } from 'concordat/outbox'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { defineSaga, Refusal } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { z } from 'zod'
import { freshPglite } from '../../../support/pglite.ts'
import { until } from '../../../support/until.ts'

const Order = z.object({ orderId: z.string(), card: z.object({ number: z.string() }).optional() })
export const placed = defineChannel('orders.placed', { payload: Order, key: ({ orderId }) => orderId })
export const paid = defineChannel('orders.paid', { payload: Order, key: ({ orderId }) => orderId })
export const refunds = defineChannel('refunds.due', { payload: Order, key: ({ orderId }) => orderId })

/** Written so that it would run, were it taken for HTML. */
export const SCRIPT = '<img src=x onerror="document.title=`taken`">'
export const CARD = '4111-1111-1111-1111'

class WarehouseAway extends ConcordatError {
  readonly code = 'warehouse.away' as const
  readonly retryable = false as const
}

export interface ShopWorld {
  readonly operator: Operator
  readonly sql: SqlClient
  readonly services: readonly Describable[]
  /** Broken parts outside of the shop, and their repair. */
  readonly outside: { bank: boolean; warehouse: boolean }
  readonly bindings: () => ReturnType<ReturnType<typeof createBinder>['bindings']>
  /** Goes by and is handled. */
  pay(orderId: string): Promise<unknown>
  /** Orders that the warehouse took. */
  readonly handled: string[]
  close(): Promise<void>
}

function sagasOf(outside: ShopWorld['outside'], words: string) {
  const buy = defineSaga('buy', { version: 1, input: Order })
    .step('reserve', { invoke: () => ({ shelf: 7 }), compensate: () => undefined })
    .step('charge', { invoke: () => ({ token: 'tok-1' }), pivot: true })
    .step('ship', {
      retry: { maxAttempts: 1 },
      invoke: () => {
        if (!outside.bank) throw new Refusal('carrier.closed', `closed on Sundays ${words}`)
      },
    })
  const approve = defineSaga('approve', { version: 2, input: Order })
    .step('check', { invoke: () => undefined, compensate: () => undefined })
    .signal('decision', { payload: z.object({ yes: z.boolean() }) })
  const turnBack = defineSaga('rent', { version: 1, input: Order })
    .step('sign', { invoke: () => undefined, compensate: () => undefined })
    .step('pay', {
      compensate: 'none',
      retry: { maxAttempts: 1 },
      invoke: () => {
        throw new Refusal('card.declined', 'no')
      },
    })
  return { buy, approve, turnBack }
}

/** @param letters how many dead letters there are; `words` end the message of each error */
export async function shopWorld({ letters = 3, words = SCRIPT } = {}): Promise<ShopWorld> {
  const database = freshPglite()
  const sql = pgliteClient(database)
  const operator = createOperator({ sql })
  await operator.migrate({ by: 'test', reason: 'setup', partitions: 2 })
  const outside = { bank: false, warehouse: false }
  const handled: string[] = []
  const outbox = createOutbox({ sql, service: 'shop', partitions: 2 })
  await outbox.migrate()
  const { buy, approve, turnBack } = sagasOf(outside, words)
  const coordinator = createCoordinator({ service: 'shop', sql, outbox, sagas: [buy, approve, turnBack], pollMs: 100 })
  await coordinator.run()
  const input = (orderId: string) => ({ orderId, card: { number: CARD } })
  for (const id of ['o-1', 'o/2', 'o-3']) await (await coordinator.start(buy, { id, input: input(id) })).outcome()
  for (const id of ['a-1', 'a-2']) await coordinator.start(approve, { id, input: input(id) })
  await (await coordinator.start(turnBack, { id: 'r-1', input: input('r-1') })).outcome()
  await sql.transaction((tx) => outbox.add(tx, refunds, input('m-1'), { id: 'm-1' }))
  await sql.query(
    `UPDATE concordat.outbox SET next_attempt_at = 'infinity', parked_at = now(), attempts = 5, last_error = 'no topic refunds.due'`,
  )
  const stock = sink(placed, { group: 'stock', maxAttempts: 1 }, ({ orderId }) => {
    if (!outside.warehouse) throw new WarehouseAway(`no answer ${words}`)
    handled.push(orderId)
  })
  const audit = sink(paid, { group: 'audit' }, () => {})
  const bus = createBus({ service: 'shop', instance: 'shop-1' })
  const bindings = [stock, audit, ...bus.bindings]
  const binder = createBinder({
    service: 'shop',
    transport: postgresTransport({ sql }),
    bindings,
    sends: bus.channels,
  })
  await binder.start()
  await bus.start(binder)
  const headers = { region: 'eu', authorization: 'Bearer hunter2' }
  for (let n = 1; n <= letters; n++) await binder.send(placed, input(`d-${n}`), { id: `d-${n}`, headers })
  const place = { channel: 'orders.placed', group: 'stock' }
  await until('they are dead letters', async () => (await operator.letters.count(place)) === letters)
  const held = await withLocks(sql)
  const services = [
    {
      name: 'shop',
      bindings: [stock, audit],
      sends: [placed, refunds],
      sagas: [buy, approve, turnBack],
      cluster: { name: 'shop' },
    },
    { name: 'payments', bindings: [sink(placed, { group: 'payments' }, () => {})], sends: [paid] },
    { name: 'refunds', bindings: [sink(refunds, { group: 'refunds' }, () => {})] },
  ] satisfies Describable[]
  return {
    operator,
    sql,
    services,
    outside,
    handled,
    bindings: () => binder.bindings(),
    pay: (orderId) => binder.send(paid, { orderId }),
    close: async () => {
      await held.close()
      await bus.close()
      await binder.close()
      await coordinator.close()
      await database.close()
    },
  }
}

/** sku:apple is held and wanted, settlement is led, the cluster shop has a member. */
async function withLocks(sql: SqlClient): Promise<{ close(): Promise<void> }> {
  const locks = postgresLocks({ sql, owner: 'shop-1' })
  await locks.acquire('sku:apple', { ttlMs: 600_000 })
  const stop = new AbortController()
  const waiting = locks.acquire('sku:apple', { ttlMs: 600_000, waitMs: 3_600_000, signal: stop.signal }).catch(() => {})
  await until('a client waits', async () => (await locks.inspect('sku:apple'))?.waiters.length === 1)
  const onGranted = (term: { readonly signal: AbortSignal }): Promise<void> =>
    new Promise((resolve) => term.signal.addEventListener('abort', () => resolve(), { once: true }))
  const election = createElection({ locks, role: 'settlement', instance: 'shop-1', onGranted })
  election.start()
  await until('it leads', () => election.status().state === 'leading')
  const store = postgresStateStore({ sql })
  const member = createMembership({ store, cluster: 'shop', instance: 'shop-1', service: 'shop' })
  await member.join()
  return {
    close: async () => {
      stop.abort()
      await waiting
      for (const part of [member, store, election, locks]) await part.close()
    },
  }
}
