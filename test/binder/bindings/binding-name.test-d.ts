import {
  type Binder,
  type BinderOptions,
  type Binding,
  type Channel,
  type ConsumerOptions,
  channelAt,
  createBinder,
  defineChannel,
  pollable,
  processor,
  route,
  type SinkBinding,
  sink,
  sinkBatch,
  source,
} from 'concordat/binder'
import type { Bus } from 'concordat/bus'
import { memoryTransport } from 'concordat/memory'
import { type ParticipantOptions, participant } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { KnownNames } from '../../support/inside/binder.ts'

const orders = defineChannel('orders', { payload: z.object({ id: z.string() }), key: ({ id }) => id })
const payments = defineChannel('payments', { payload: z.object({ paid: z.boolean() }) })
const charge = processor(orders, payments, { group: 'charge' }, () => ({ paid: true }))
const audit = sink(payments, { group: 'audit', concurrency: 8 }, () => {})
const jobs = pollable(orders, { group: 'jobs' })
declare const someName: string

function bind<const Bindings extends readonly Binding[]>(...bindings: Bindings) {
  return { service: 'test', transport: memoryTransport(), bindings } as const
}

test('a channel carries its name where that is known', () => {
  expectTypeOf(orders.name).toEqualTypeOf<'orders'>()
  expectTypeOf(channelAt(orders, 'orders.eu')).toEqualTypeOf<Channel<{ id: string }, { id: string }, 'orders.eu'>>()
  const computed = defineChannel(someName, { payload: z.string() })
  expectTypeOf(computed).toEqualTypeOf<Channel<string>>()
  // Written by hand, without its name.
  const byHand: Channel<{ id: string }> = orders
  const send = <In, Out>(channel: Channel<In, Out>, payload: NoInfer<In>): unknown => [channel, payload]
  send(byHand, { id: 'o-1' })
  send(orders, { id: 'o-1' })
  // @ts-expect-error -- a payment is no order
  send(orders, { paid: true })
})

test('a binder takes the names of its bindings', () => {
  const binder = createBinder(bind(charge, audit, jobs))
  expectTypeOf(binder).toEqualTypeOf<Binder<'orders.charge' | 'payments.audit' | 'orders.jobs'>>()
  binder.binding('orders.charge').pause()
  void binder.lag('payments.audit')
  // @ts-expect-error -- an undeclared binding
  binder.binding('orders.audit')
  // @ts-expect-error -- a channel is no binding
  void binder.lag('orders')
  // @ts-expect-error -- may be any name
  binder.binding(someName)
})

test('declared in the call or before it is the same', () => {
  const binder = createBinder({
    service: 'test',
    transport: memoryTransport(),
    bindings: [sink(orders, { group: 'a' }, ({ id }) => void id), charge, pollable(payments, { group: 'b' })],
    headers: () => ({}),
  })
  expectTypeOf(binder).toEqualTypeOf<Binder<'orders.a' | 'orders.charge' | 'payments.b'>>()
})

test('a name follows from group and channel unless it is given', () => {
  expectTypeOf(sink(orders, {}, () => {})).toEqualTypeOf<SinkBinding<'orders.anonymous'>>()
  expectTypeOf(sink(orders, { group: 'g', name: 'stock' }, () => {})).toEqualTypeOf<SinkBinding<'stock'>>()
  const ticks = source(payments, { everyMs: 1 }, () => ({ paid: true }))
  const tocks = source(payments, { everyMs: 1, name: 'tocks' }, () => ({ paid: true }))
  const batch = sinkBatch(orders, { group: 'batch', batch: { maxSize: 5 } }, (items) => {
    for (const { payload } of items) expectTypeOf(payload).toEqualTypeOf<{ id: string }>()
  })
  const kinds = route(orders, { group: 'kinds', by: 'kind', routes: { a: ({ id }) => void id } })
  expectTypeOf(createBinder(bind(ticks, tocks, batch, kinds))).toEqualTypeOf<
    Binder<'payments.source' | 'tocks' | 'orders.batch' | 'orders.kinds'>
  >()
})

test('a binding that takes replies has a name as well', () => {
  const asking = createBinder({ service: 'shop', transport: memoryTransport(), replies: [payments] })
  expectTypeOf(asking).toEqualTypeOf<Binder<'payments.shop'>>()
  const named = createBinder({
    service: someName,
    transport: memoryTransport(),
    bindings: [audit],
    replies: [payments],
  })
  expectTypeOf(named).toEqualTypeOf<Binder>()
})

test('a participant has the name of a sink', () => {
  const { sql, outbox } = {} as ParticipantOptions
  const stock = participant(orders, { sql, outbox, group: 'stock' }, { invoke: ({ id }) => id, compensate: () => {} })
  expectTypeOf(stock).toEqualTypeOf<SinkBinding<'orders.stock'>>()
})

test('a name that is known at run time only opens the binder to any text', () => {
  const coordinator = {} as Coordinator
  const bus = {} as Bus
  const atRunTime: Binding[] = [charge, audit]
  const options: ConsumerOptions = { group: 'g' }
  const explicit = sink<{ id: string }, { id: string }>(orders, { group: 'g', name: 'stock' }, () => {})
  const computed = defineChannel(`${someName}.dlq`, { payload: z.string() })
  const binders = [
    createBinder(bind(...atRunTime)),
    createBinder(bind(...coordinator.bindings, audit)),
    createBinder(bind(audit, ...bus.bindings)),
    createBinder(
      bind(
        audit,
        sink(orders, options, () => {}),
      ),
    ),
    createBinder(
      bind(
        audit,
        sink(orders, { group: someName }, () => {}),
      ),
    ),
    createBinder(
      bind(
        audit,
        sink(computed, { group: 'g' }, () => {}),
      ),
    ),
    createBinder(bind(audit, explicit)),
    createBinder({} as BinderOptions),
  ]
  expectTypeOf(binders).toEqualTypeOf<Binder[]>()
  for (const binder of binders) binder.binding(someName).resume()
})

test('bindings that are spread keep their names', () => {
  const both = [charge, audit]
  const binder = createBinder(bind(...both, ...(someName === '' ? [jobs] : [])))
  expectTypeOf(binder).toEqualTypeOf<Binder<'orders.charge' | 'payments.audit' | 'orders.jobs'>>()
})

test('a binder fits where any is wanted', () => {
  const pause = (binder: Binder, name: string): void => binder.binding(name).pause()
  pause(createBinder(bind(charge)), 'orders.charge')
  const bus = {} as Bus
  void bus.start(createBinder(bind(charge, audit)))
  const make = <Name extends string>(bindings: ReadonlyArray<Binding<Name>>): Binder<KnownNames<Name>> =>
    createBinder({ service: 'test', transport: memoryTransport(), bindings })
  // @ts-expect-error -- an undeclared binding
  make([charge]).binding('orders.audit')
})

test('only a declared binding can be polled', () => {
  const binder = createBinder(bind(jobs))
  void binder.poll(jobs, ({ id }) => void id)
  // @ts-expect-error -- not among them
  void binder.poll(pollable(orders, { group: 'other' }), () => {})
})
