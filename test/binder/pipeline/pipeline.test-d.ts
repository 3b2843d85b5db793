import { defineChannel, type Inbox, type TransactionContext } from 'concordat/binder'
import { from, pipeline } from 'concordat/pipeline'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { Window } from '../../support/inside/binder.ts'

const Order = z.object({ id: z.string(), cents: z.number(), skus: z.array(z.string()) })
declare const inbox: Inbox
const placed = defineChannel('orders.placed', { payload: Order, key: ({ id }) => id })
const lines = defineChannel('orders.lines', { payload: z.object({ id: z.string(), sku: z.string() }) })
const names = defineChannel('names', { payload: z.string() })
const totals = defineChannel('totals', { payload: z.object({ count: z.number() }) })
const dated = defineChannel('dated', { payload: z.string().transform((text) => new Date(text)) })

test('types go through every stage', () => {
  from(placed)
    .filter(({ cents }) => cents > 0)
    .flatMap(({ id, skus }) => skus.map((sku) => ({ id, sku })))
    .tap((line) => expectTypeOf(line).toEqualTypeOf<{ id: string; sku: string }>())
    .map(async ({ sku }) => sku.length)
    .map((length) => expectTypeOf(length).toEqualTypeOf<number>())
  from(placed)
    .map(({ id }, context) => {
      expectTypeOf(context.key).toEqualTypeOf<string | null>()
      // @ts-expect-error a part without once has no transaction
      return `${id}${context.tx}`
    })
    .to(names)
})

test('a channel accepts the flow’s payload, in its sent form', () => {
  from(names).to(dated)
  const orders = from(placed)
  orders.map(({ id, skus }) => ({ id, sku: skus[0] ?? '' })).to(lines)
  // @ts-expect-error an order is no line
  orders.to(lines)
  const amounts = orders.map(({ cents }) => cents)
  // @ts-expect-error a number is no name
  amounts.to(names)
  // @ts-expect-error a date is not what travels
  from(dated).to(dated)
  // @ts-expect-error a flow that does not end
  pipeline('open', from(names))
})

test('a type guard narrows', () => {
  const either = defineChannel('either', { payload: z.union([z.string(), z.number()]) })
  from(either)
    .filter((value) => typeof value === 'string')
    .to(names)
})

test('behind a split the payload is the channel’s', () => {
  from(names)
    .through(dated)
    .map((date) => expectTypeOf(date).toEqualTypeOf<Date>())
  // @ts-expect-error it is sent to the channel
  from(placed).through(names)
})

test('each way of a branch is typed, and open ones continue', () => {
  from(placed)
    .branch({
      large: { when: ({ cents }) => cents > 100, to: (flow) => flow.map(({ id }) => id) },
      small: { when: (order) => order.cents > 10, to: (flow) => flow.map(({ cents }) => cents) },
      rest: { to: (flow) => flow.map(({ id }) => id).to(names) },
    })
    .tap((left) => expectTypeOf(left).toEqualTypeOf<string | number>())
  from(placed).branch({
    // @ts-expect-error an order is no name
    large: { to: (flow) => flow.to(names) },
  })
})

test('with `once: true` each stage has the transaction, and a window its value', () => {
  from(placed, { once: true })
    .tap((_, context) => expectTypeOf(context).toEqualTypeOf<TransactionContext>())
    .window({ count: 10, initial: () => 0, add: (sum, { cents }) => sum + cents })
    .tap((window) => expectTypeOf(window).toEqualTypeOf<Window<number>>())
    .to(totals)
  from(placed, { once: true })
    .window({ key: ({ id }, { key }) => key ?? id, everyMs: 1_000 })
    .tap((window) => expectTypeOf(window).toEqualTypeOf<Window<undefined>>())
  // @ts-expect-error the service chooses
  from(placed, { once: true, inbox })
  // @ts-expect-error once: true
  from(placed, { inbox: true })
  // @ts-expect-error without a transaction there is nowhere to keep it
  from(placed).window({ count: 10 })
})

test('a part behind a split has the transaction of the previous one, or its own', () => {
  from(names, { once: true })
    .through(dated, { maxAttempts: 1 })
    .tap((_, context) => expectTypeOf(context).toEqualTypeOf<TransactionContext>())
  from(names)
    .through(dated, { once: true })
    .tap((_, context) => expectTypeOf(context).toEqualTypeOf<TransactionContext>())
})
