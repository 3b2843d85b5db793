import {
  type BatchContext,
  type BatchItem,
  type BatchMiddleware,
  type BatchTransactionContext,
  type Binder,
  type Channel,
  carryHeaders,
  combineTransports,
  createBinder,
  defineChannel,
  failed,
  type HandlerContext,
  type Inbox,
  ignoreErrors,
  into,
  type Middleware,
  ok,
  pollable,
  processor,
  processorBatch,
  produced,
  responder,
  route,
  type SinkBinding,
  several,
  sink,
  sinkBatch,
  source,
  type TransactionContext,
  timeout,
  to,
  withContext,
} from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const Order = z.object({ id: z.string(), at: z.string().pipe(z.coerce.date()) })
const orders = defineChannel('orders', { payload: Order, key: (order) => order.id })
const payments = defineChannel('payments', { payload: z.object({ paid: z.boolean() }) })
const binder: Binder = createBinder({ service: 'test', transport: memoryTransport() })
declare const inbox: Inbox
declare const sql: SqlClient
const order = { id: 'o-1', at: '2026-11-20' }

test('a channel types its input and its output', () => {
  expectTypeOf(orders).toEqualTypeOf<Channel<{ id: string; at: string }, { id: string; at: Date }, 'orders'>>()
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

test('only a binding that is applied once has a transaction', () => {
  sink(orders, { group: 'g', once: true, sharesTransactions: false }, (_order, context) => {
    expectTypeOf(context).toEqualTypeOf<TransactionContext>()
  })
  processor(orders, payments, { group: 'g', once: true, retryable: (error) => error.name === '' }, (_order, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
    return { paid: true }
  })
  responder(orders, payments, { group: 'g', once: true }, (_order, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
    return { paid: true }
  })
  route(orders, { group: 'g', once: true, by: 'kind', routes: { a: (_order, { tx }) => void tx } })
  sink(orders, { group: 'g', settlesIn: sql }, (_order, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
  })
  expectTypeOf(sink(orders, { group: 'g', once: true }, () => {})).toEqualTypeOf<SinkBinding<'orders.g'>>()
  // @ts-expect-error -- a group is what remembers
  sink(orders, { once: true }, () => {})
  // @ts-expect-error -- it is on, or not given
  sink(orders, { group: 'g', once: false }, () => {})
  // @ts-expect-error -- the service chooses
  sink(orders, { group: 'g', once: true, inbox }, () => {})
  // @ts-expect-error -- the service chooses
  sink(orders, { group: 'g', once: true, settlesIn: sql }, () => {})
  // @ts-expect-error -- one of the two
  sink(orders, { group: 'g', inbox, settlesIn: sql }, () => {})
  // @ts-expect-error -- once: true
  sink(orders, { group: 'g', inbox: true }, () => {})
  // @ts-expect-error -- once: true
  sink(orders, { group: 'g', settlesIn: true }, () => {})
  // @ts-expect-error -- paid is a boolean
  processor(orders, payments, { group: 'g', once: true }, () => ({ paid: 'yes' }))
  // @ts-expect-error -- concurrency is spelt otherwise
  sink(orders, { group: 'g', once: true, concurency: 2 }, () => {})
  // @ts-expect-error -- without once a route has no tx
  route(orders, { group: 'g', by: 'kind', routes: { a: (_order, { tx }) => void tx } })
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

test('a batch handler gets each payload with its context, and returns an outcome for each or nothing', () => {
  sinkBatch(orders, { group: 'g', batch: { maxSize: 10 } }, (items, context) => {
    expectTypeOf(items).toEqualTypeOf<ReadonlyArray<BatchItem<{ id: string; at: Date }>>>()
    expectTypeOf(context).toEqualTypeOf<BatchContext>()
  })
  sinkBatch(orders, { group: 'g' }, (items) => Promise.allSettled(items.map(async ({ payload }) => payload.id)))
  sinkBatch(orders, { group: 'g' }, async (items) =>
    items.map(({ payload }) => (payload.id === '' ? failed('empty') : ok)),
  )
  sinkBatch(orders, { group: 'g', inbox }, (_items, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
  })
  sinkBatch(orders, { group: 'g', once: true }, (_items, context) => {
    expectTypeOf(context).toEqualTypeOf<BatchTransactionContext>()
  })
  // @ts-expect-error -- an inbox needs a group
  sinkBatch(orders, { once: true }, () => {})
  // @ts-expect-error -- once: true
  sinkBatch(orders, { group: 'g', inbox: true }, () => {})
  // @ts-expect-error -- the service chooses
  sinkBatch(orders, { group: 'g', once: true, inbox }, () => {})
  // @ts-expect-error -- no inbox, no tx
  sinkBatch(orders, { group: 'g' }, (_items, { tx }) => void tx)
  // @ts-expect-error -- true is no outcome
  sinkBatch(orders, { group: 'g' }, (items) => items.map(() => true))
  sinkBatch(orders, { group: 'g', retry: 'delayed' }, () => {})
})

test('a batch processor returns outputs per message, as its output channel types them', () => {
  processorBatch(orders, payments, { group: 'g', batch: { maxSize: 10 } }, (items, context) => {
    expectTypeOf(items).toEqualTypeOf<ReadonlyArray<BatchItem<{ id: string; at: Date }>>>()
    expectTypeOf(context).toEqualTypeOf<BatchContext>()
  })
  processorBatch(orders, payments, { group: 'g' }, (items) =>
    Promise.allSettled(items.map(async () => ({ paid: true }))),
  )
  processorBatch(orders, payments, { group: 'g' }, (items) =>
    items.map(({ payload }) => {
      if (payload.id === '') return failed('empty')
      if (payload.id === '1') return ok
      return produced({ paid: true })
    }),
  )
  processorBatch(orders, payments, { group: 'g' }, async (items) =>
    items.map(() => produced(several([{ paid: true }, to('payments.eu', { paid: true }), to(orders, order)]))),
  )
  processorBatch(orders, payments, { group: 'g' }, (items) => items.map(() => produced(to(orders, order))))
  const kinds = defineChannel('kinds', { payload: z.object({ kind: z.enum(['old', 'new']) }) })
  processorBatch(orders, kinds, { group: 'g' }, (items) => items.map(() => produced({ kind: 'old' })))
  processorBatch(orders, kinds, { group: 'g' }, (items) =>
    Promise.allSettled(items.map(async ({ payload: { id } }) => (id === '' ? { kind: 'old' } : { kind: 'new' }))),
  )
  processorBatch(orders, payments, { group: 'g', inbox }, (items, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
    return items.map(() => produced({ paid: false }))
  })
  // @ts-expect-error -- paid is a boolean
  processorBatch(orders, payments, { group: 'g' }, (items) => items.map(() => produced({ paid: 'yes' })))
  processorBatch(orders, payments, { group: 'g' }, (items) =>
    // @ts-expect-error -- paid is missing
    Promise.allSettled(items.map(async ({ payload }) => payload.id)),
  )
  // @ts-expect-error -- a payload is no outcome: produced() makes it one
  processorBatch(orders, payments, { group: 'g' }, (items) => items.map(() => ({ paid: true })))
  // @ts-expect-error -- each of several has to fit
  processorBatch(orders, payments, { group: 'g' }, (items) => items.map(() => produced(several([{ paid: 1 }]))))
  processorBatch(orders, payments, { group: 'g', once: true }, (items, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
    return items.map(() => produced({ paid: false }))
  })
  // @ts-expect-error -- no inbox, no tx
  processorBatch(orders, payments, { group: 'g' }, (_items, { tx }) => void tx)
})

test('middleware of batches gets batches, and that of single messages does not fit them', () => {
  const counted: BatchMiddleware =
    (next, { kind }) =>
    (items, context) => {
      expectTypeOf(kind).toEqualTypeOf<'sinkBatch' | 'processorBatch'>()
      expectTypeOf(context).toEqualTypeOf<BatchContext>()
      return next(items.slice(1), withContext(context, { channel: 'other' }))
    }
  const single: Middleware = (next) => next
  const both = [timeout(1_000), ignoreErrors(() => true), carryHeaders('tenant')]
  sinkBatch(orders, { group: 'g', middleware: [counted, ...both] }, () => {})
  sink(orders, { group: 'g', middleware: [single, ...both] }, () => {})
  createBinder({ service: 'test', transport: memoryTransport(), middleware: both, batchMiddleware: both })
  // @ts-expect-error -- it would look for a message's headers on a list
  sinkBatch(orders, { group: 'g', middleware: [single] }, () => {})
  // @ts-expect-error -- it would look for messages in a payload
  sink(orders, { group: 'g', middleware: [counted] }, () => {})
  // @ts-expect-error -- it would look for a message's headers on a list
  createBinder({ service: 'test', transport: memoryTransport(), batchMiddleware: [single] })
})

test('a poll hands over what its pollable takes', () => {
  const jobs = pollable(orders, { group: 'g' })
  void binder.poll(jobs, (order, context) => {
    expectTypeOf(order).toEqualTypeOf<{ id: string; at: Date }>()
    expectTypeOf(context).toEqualTypeOf<HandlerContext>()
  })
  void binder.poll(pollable(orders, { group: 'g', inbox }), (_order, { tx }) => {
    expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
  })
  void binder.poll(pollable(orders, { group: 'g', once: true }), (_order, context) => {
    expectTypeOf(context).toEqualTypeOf<TransactionContext>()
  })
  // @ts-expect-error -- once: true
  pollable(orders, { group: 'g', inbox: true })
  expectTypeOf(binder.poll(jobs, () => {})).toEqualTypeOf<Promise<boolean>>()
  // @ts-expect-error -- a payment is no order
  void binder.poll(jobs, (payment: { paid: boolean }) => void payment)
  const audit = sink(orders, { group: 'g' }, () => {})
  // @ts-expect-error -- a sink is not polled
  void binder.poll(audit, () => {})
  // @ts-expect-error -- nothing listens between polls, so a group is needed
  pollable(orders, {})
  // @ts-expect-error -- one message at a time
  pollable(orders, { group: 'g', concurrency: 2 })
})

test('flow options are checked', () => {
  sink(orders, { group: 'g', rateLimit: { perSecond: 5 }, circuitBreaker: { failures: 3, pauseMs: 1_000 } }, () => {})
  // @ts-expect-error -- a rate without its number
  sink(orders, { group: 'g', rateLimit: { burst: 5 } }, () => {})
  // @ts-expect-error -- for how long is it open?
  sink(orders, { group: 'g', circuitBreaker: { failures: 3 } }, () => {})
  expectTypeOf(binder.lag('orders.g')).toEqualTypeOf<Promise<number | undefined>>()
})

test('a channel with tombstones takes and gives null, and no other does', () => {
  const users = defineChannel('users', { payload: z.object({ id: z.string() }), tombstones: true, key: ({ id }) => id })
  expectTypeOf(users).toEqualTypeOf<Channel<{ id: string } | null, { id: string } | null, 'users'>>()
  void binder.send(users, null, { key: 'u-1' })
  sink(users, { group: 'g' }, (user) => {
    // @ts-expect-error -- it may be null
    void user.id
  })
  // @ts-expect-error -- payments have no tombstones
  void binder.send(payments, null, { key: 'p-1' })
})

test('outputs fit the channel they are addressed to', () => {
  processor(orders, payments, { group: 'g' }, () => to('payments.eu', { paid: true }))
  processor(orders, payments, { group: 'g' }, () => to(orders, { id: 'o-1', at: '' }))
  processor(orders, payments, { group: 'g' }, () =>
    several([{ paid: true }, to('payments.eu', { paid: true }), to(orders, { id: 'o-1', at: '' })]),
  )
  // @ts-expect-error -- a destination by name has the schema of the processor's channel
  processor(orders, payments, { group: 'g' }, () => to('payments.eu', { id: 'o-1' }))
  // @ts-expect-error -- at is text
  processor(orders, payments, { group: 'g' }, () => to(orders, { id: 'o-1', at: 1 }))
  // @ts-expect-error -- a key is text or null
  void to(orders, { id: 'o-1', at: '' }, { key: 7 })
})

test('routes handle the payload of their channel, and produce that of the other', () => {
  const kinds = { group: 'g', by: 'kind' } as const
  route(orders, { ...kinds, routes: { a: ({ at }) => void at.getTime(), b: into(payments, () => ({ paid: true })) } })
  route(orders, { group: 'g', by: ({ id }, { key }) => key ?? id, routes: { a: () => {} }, default: 'discard' })
  // @ts-expect-error -- a payment is no order
  route(orders, { ...kinds, routes: { a: (payment: { paid: boolean }) => void payment } })
  // @ts-expect-error -- paid is a boolean
  route(orders, { ...kinds, routes: { a: into(payments, () => ({ paid: 'yes' })) } })
  // @ts-expect-error -- what matches nothing is handled, discarded or fails
  route(orders, { ...kinds, routes: { a: () => {} }, default: 'drop' })
})

test('a request gets what its reply channel gives', async () => {
  expectTypeOf(await binder.request(payments, { paid: true }, { reply: orders })).toEqualTypeOf<{
    id: string
    at: Date
  }>()
  // @ts-expect-error -- paid is a boolean
  void binder.request(payments, { paid: 1 }, { reply: orders })
  // @ts-expect-error -- a reply has a channel
  void binder.request(payments, { paid: true }, { timeoutMs: 1 })
  responder(payments, orders, { group: 'g' }, () => ({ id: 'o-1', at: '2026-11-20' }))
  // @ts-expect-error -- the reply is an order
  responder(payments, orders, { group: 'g' }, () => ({ paid: true }))
})

test('a value that is no declaration is no binding', () => {
  // @ts-expect-error -- no declaration
  createBinder({ service: 'test', transport: memoryTransport(), bindings: [{ input: orders }] })
  // @ts-expect-error -- a name is no channel
  sink('orders', { group: 'g' }, () => {})
})

test('transports are named as they were given', () => {
  combineTransports({ transports: { a: memoryTransport(), b: memoryTransport() }, of: { orders: 'b' }, default: 'a' })
  // @ts-expect-error -- there is no c
  combineTransports({ transports: { a: memoryTransport() }, of: { orders: 'c' } })
})
