import {
  type Binder,
  createBinder,
  defineChannel,
  pollable,
  processor,
  processorBatch,
  responder,
  route,
  sink,
  sinkBatch,
  source,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { expect, it } from 'vitest'
import { z } from 'zod'

type NamesOf<B> = B extends Binder<infer Name> ? Name : never

it('bindings have the names that their types say', () => {
  const orders = defineChannel('orders', { payload: z.number() })
  const prices = defineChannel('prices', { payload: z.number() })
  const binder = createBinder({
    service: 'shop',
    transport: memoryTransport(),
    bindings: [
      sink(orders, {}, () => {}),
      sink(orders, { group: 'a' }, () => {}),
      sink(orders, { group: 'b', name: 'by-name' }, () => {}),
      processor(orders, prices, { group: 'c' }, (order) => order),
      responder(orders, prices, { group: 'd' }, (order) => order),
      route(orders, { group: 'e', by: 'kind', routes: { x: () => {} } }),
      sinkBatch(orders, { group: 'f' }, () => {}),
      processorBatch(orders, prices, { group: 'g' }, () => {}),
      pollable(orders, { group: 'h' }),
      source(orders, { everyMs: 1_000 }, () => 1),
    ],
    replies: [prices],
  })
  // The compiler checks that the list is exact: a missing or an extra name does not compile.
  const names: Readonly<Record<NamesOf<typeof binder>, true>> = {
    'orders.anonymous': true,
    'orders.a': true,
    'by-name': true,
    'orders.c': true,
    'orders.d': true,
    'orders.e': true,
    'orders.f': true,
    'orders.g': true,
    'orders.h': true,
    'orders.source': true,
    'prices.shop': true,
  }
  expect(binder.bindings().map(({ name }) => name)).toEqual(Object.keys(names))
})
