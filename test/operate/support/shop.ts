/** A shop of four services that has everything there is to describe. Nothing of it runs. */
import { createBinder, defineChannel, into, processor, responder, route, sink, source } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryLocks, memoryTransport } from 'concordat/memory'
import { defineSaga, participant } from 'concordat/saga'
import { createService, type ServiceDeclaration } from 'concordat/service'
import * as valibot from 'valibot'
import { z } from 'zod'

const never = (): never => {
  throw new Error('nothing of it runs')
}

const Money = z.object({ cents: z.int().nonnegative() }).meta({ id: 'Money' })
const Order = z.object({ orderId: z.string(), total: Money, note: z.string().optional() })
/** It has parts of its own kind. */
const Category = z.object({
  name: z.string(),
  get below() {
    return z.array(Category)
  },
})

export const placed = defineChannel('orders.placed', {
  payload: Order.meta({ examples: [{ orderId: 'o-1', total: { cents: 4200 } }] }),
  key: ({ orderId }) => orderId,
  partitions: 6,
  retentionMs: 604_800_000,
})
export const paid = defineChannel('orders.paid', { payload: z.object({ orderId: z.string(), amount: Money }) })
export const large = defineChannel('orders.large', { payload: Order })
export const charge = defineChannel('payments.commands', { payload: z.object({ orderId: z.string(), amount: Money }) })
export const catalog = defineChannel('catalog', { payload: Category, tombstones: true, key: ({ name }) => name })
export const quote = defineChannel('quotes.asked', { payload: valibot.object({ sku: valibot.string() }) })
export const quoted = defineChannel('quotes.answers', { payload: z.object({ cents: z.int() }) })
export const approved = defineChannel('orders.approved', {
  payload: z.object({ orderId: z.string(), by: z.string() }),
  version: 2,
  upcasts: { 1: (old) => ({ ...(old as object), by: 'unknown' }) },
})

const delivery = defineSaga('deliver', { version: 1, input: Order }).step('send', {
  invoke: never,
  compensate: 'none',
})
export const buy = defineSaga('buy', { version: 3, input: Order, deadlineMs: 60_000 })
  .step('reserve', { invoke: never, compensate: never })
  .command('charge', { to: charge, request: never, compensate: true })
  .signal('approve', { from: approved, correlate: ({ orderId }) => orderId })
  .step('confirm', { pivot: true, invoke: never })
  .saga('deliver', { saga: delivery, input: never })

/** Like a service that is created and never started. */
export const orders = createService({
  name: 'orders',
  transport: memoryTransport(),
  sql: pgliteClient({ query: never, exec: never, transaction: never } as never),
  locks: memoryLocks(),
  sagas: [buy],
  bindings: [
    sink(placed, { group: 'orders', once: true, retry: 'delayed' }, never),
    source(catalog, { everyMs: 60_000 }, never),
  ],
  sends: [placed],
  leads: { pricing: never },
  schedules: { nightly: { jobs: [{ name: 'close', cron: '0 3 * * *', timeZone: 'Europe/Berlin', work: never }] } },
  parts: { binder: { replies: [quoted] } },
})

/** As declarations: no transport, no database. */
export const payments = {
  name: 'payments',
  bindings: [
    participant(charge, { group: 'payments' }, { invoke: never, compensate: never }),
    processor(placed, paid, { group: 'payments' }, never),
    responder(quote, quoted, { group: 'payments' }, never),
  ],
  schedules: { settlement: { jobs: [{ name: 'settle', everyMs: 60_000, work: never }] } },
} satisfies ServiceDeclaration

export const audit = {
  name: 'audit',
  bindings: [
    sink(paid, {}, never),
    route(placed, { group: 'audit', by: 'size', routes: { large: into(large, never) }, default: 'discard' }),
  ],
  cluster: { name: 'shop' },
} satisfies ServiceDeclaration

/** Makes an order wait for a person. */
export const admin = { name: 'admin', sends: [approved, quote, catalog] } satisfies ServiceDeclaration

export const shop = [orders, payments, audit, admin]

/** Bindings that a binder would create of the same declarations, for comparison. */
export const describedByBinder = () =>
  createBinder({ service: 'audit', transport: memoryTransport(), bindings: audit.bindings }).describe()
