import {
  type Channel,
  createBinder,
  defineChannel,
  type HandlerContext,
  type Inbox,
  processor,
  several,
  sink,
  source,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/binder/memory'
import type { SqlTransaction } from 'concordat/core'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const Order = z.object({ id: z.string(), at: z.string().pipe(z.coerce.date()) })
const orders = defineChannel('orders', { payload: Order, key: (order) => order.id })
const payments = defineChannel('payments', { payload: z.object({ paid: z.boolean() }) })
const binder = createBinder({ service: 'test', transport: memoryTransport() })
declare const inbox: Inbox

test('a channel knows what is sent and what is received', () => {
  expectTypeOf(orders).toEqualTypeOf<Channel<{ id: string; at: string }, { id: string; at: Date }>>()
  void binder.send(orders, { id: 'o-1', at: '2026-11-20' }, { key: 'k', headers: { tenant: 'acme', n: 1, ok: true } })
})

test('a wrong payload is not sent', () => {
  // @ts-expect-error -- id is a string
  void binder.send(orders, { id: 1, at: '2026-11-20' })
  // @ts-expect-error -- at is missing
  void binder.send(orders, { id: 'o-1' })
  // @ts-expect-error -- the sender gives the text, the receiver gets the date
  void binder.sendBatch(orders, [{ id: 'o-1', at: new Date() }])
  // @ts-expect-error -- a header is no object
  void binder.send(orders, { id: 'o-1', at: '' }, { headers: { tenant: {} } })
})

test('a key is text or null', () => {
  // @ts-expect-error -- a number is no key
  defineChannel('a', { payload: z.object({ n: z.number() }), key: ({ n }) => n })
  // @ts-expect-error -- there is no such field
  defineChannel('a', { payload: z.object({ n: z.number() }), key: ({ id }) => id })
  defineChannel('a', { payload: z.object({ n: z.number() }), key: () => null })
})

test('a handler gets the payload as its schema gives it', () => {
  sink(orders, {}, (order, context) => {
    expectTypeOf(order).toEqualTypeOf<{ id: string; at: Date }>()
    expectTypeOf(context).toEqualTypeOf<HandlerContext>()
  })
  // @ts-expect-error -- a payment is no order
  sink(payments, {}, (order: { id: string }) => void order)
})

test('only a binding with an inbox has a transaction', () => {
  sink(orders, { group: 'g', inbox }, (_order, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
  })
  // @ts-expect-error -- no inbox, no tx
  sink(orders, { group: 'g' }, (_order, { tx }) => void tx)
  // @ts-expect-error -- an inbox needs a group
  sink(orders, { inbox }, () => {})
})

test('a processor returns what its output channel takes', () => {
  processor(orders, payments, { group: 'g' }, () => ({ paid: true }))
  processor(orders, payments, { group: 'g' }, async () => several([{ paid: true }, { paid: false }]))
  processor(orders, payments, { group: 'g' }, () => undefined)
  // @ts-expect-error -- paid is a boolean
  processor(orders, payments, { group: 'g' }, () => ({ paid: 'yes' }))
  // @ts-expect-error -- an array is one payload; several() makes it many
  processor(orders, payments, { group: 'g' }, () => [{ paid: true }])
  // @ts-expect-error -- each of several has to fit
  processor(orders, payments, { group: 'g' }, () => several([{ paid: 1 }]))
})

test('a source produces what its channel takes', () => {
  source(payments, { everyMs: 1_000 }, async ({ signal }) => (signal.aborted ? undefined : { paid: true }))
  // @ts-expect-error -- everyMs is missing
  source(payments, {}, () => ({ paid: true }))
  // @ts-expect-error -- paid is a boolean
  source(payments, { everyMs: 1 }, () => ({ paid: 0 }))
})

test('an option that does not exist is an error', () => {
  // @ts-expect-error -- concurrency is spelt otherwise
  sink(orders, { group: 'g', concurency: 2 }, () => {})
  // @ts-expect-error -- a retry policy is no failure policy
  sink(orders, { group: 'g', onFailure: 'retry' }, () => {})
})
