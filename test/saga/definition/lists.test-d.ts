import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'

const Line = z.object({ sku: z.string(), at: z.date() })
const commands = defineChannel('stock.commands', { payload: z.object({ sku: z.string(), n: z.number() }) })
const begin = defineSaga('t', { version: 1, input: z.object({ lines: z.array(Line), far: z.boolean() }) })

test('the functions of a list get its items as they come back from the database, and its result is a list', () => {
  begin
    .each('ship', {
      over: ({ input }) => input.lines,
      invoke: ({ item, index, input }) => {
        expectTypeOf(item).toEqualTypeOf<{ readonly sku: string; readonly at: string }>()
        expectTypeOf(index).toEqualTypeOf<number>()
        expectTypeOf(input.far).toEqualTypeOf<boolean>()
        return { parcel: item.sku, when: new Date() }
      },
      compensate: ({ item, result }) => {
        expectTypeOf(item.sku).toEqualTypeOf<string>()
        expectTypeOf(result).toEqualTypeOf<{ readonly parcel: string; readonly when: string } | undefined>()
      },
    })
    .each('reserve', {
      over: ({ results }) => {
        expectTypeOf(results.ship).toEqualTypeOf<readonly { readonly parcel: string; readonly when: string }[]>()
        return results.ship.map(({ parcel }) => parcel)
      },
      to: commands,
      request: ({ item }) => ({ sku: item, n: 1 }),
      reply: z.object({ left: z.number() }),
      compensate: true,
    })
    .step('end', {
      pivot: true,
      invoke: ({ results }) => {
        expectTypeOf(results.reserve).toEqualTypeOf<readonly { left: number }[]>()
      },
    })
    .each('tell', { over: () => [1, 2], invoke: ({ item }) => item + 1 })
})

test('a list of sagas has a list of their results', () => {
  const child = defineSaga('child', { version: 1, input: z.string() }).step('a', {
    invoke: ({ input }) => input.length,
    compensate: 'none',
  })
  begin
    .each('children', {
      over: ({ input }) => input.lines,
      saga: child,
      input: ({ item }) => item.sku,
      compensate: 'none',
    })
    .step('end', {
      invoke: ({ results }) => expectTypeOf(results.children).toEqualTypeOf<readonly { readonly a: number }[]>(),
      compensate: 'none',
    })
})

test('a list before the pivot declares how its items are undone', () => {
  // @ts-expect-error -- compensate is missing
  begin.each('a', { over: () => [1], invoke: () => 1 })
  const forward = begin.step('p', { pivot: true, invoke: () => 1 })
  // @ts-expect-error -- only forward after the pivot
  forward.each('a', { over: () => [1], invoke: () => 1, compensate: () => {} })
})

test('a choice gives the name of the branch, and the results of its steps are optional', () => {
  begin
    .choose('route', ({ input }) => (input.far ? 'air' : 'road'), {
      air: (saga) => saga.step('fly', { invoke: () => 7, compensate: 'none' }),
      road: (saga) =>
        saga
          .step('drive', { invoke: ({ input }) => String(input.far), compensate: 'none' })
          .step('park', { invoke: ({ results }) => results.drive.length, compensate: 'none' }),
    })
    .step('end', {
      invoke: ({ results }) => {
        expectTypeOf(results.route).toEqualTypeOf<'air' | 'road'>()
        expectTypeOf(results.fly).toEqualTypeOf<number | undefined>()
        expectTypeOf(results.drive).toEqualTypeOf<string | undefined>()
        expectTypeOf(results.park).toEqualTypeOf<number | undefined>()
      },
      compensate: 'none',
    })
  // @ts-expect-error -- there is no branch "sea"
  begin.choose('route', () => 'sea', { air: (saga) => saga, road: (saga) => saga })
})

test('the steps of a forward block are undoable steps, and a group after the pivot has none', () => {
  const saga = begin.forward((block) => block.step('a', { invoke: () => 1, compensate: () => {} }))
  saga.step('b', { invoke: ({ results }) => expectTypeOf(results.a).toEqualTypeOf<number>(), compensate: 'none' })
  const forward = saga.step('p', { pivot: true, invoke: () => 1 })
  forward
    .parallel((group) => group.step('c', { invoke: () => 1 }).step('d', { invoke: () => 'd' }))
    .step('e', { invoke: ({ results }) => expectTypeOf(results.d).toEqualTypeOf<string>() })
  // @ts-expect-error -- only forward after the pivot
  forward.parallel((group) => group.step('c', { invoke: () => 1, compensate: () => {} }))
})

test('the functions of reservations get the item, and what `try` returned', () => {
  begin
    .each('hold', {
      over: ({ input }) => input.lines,
      try: ({ item, index, tx }) => {
        expectTypeOf(item).toEqualTypeOf<{ readonly sku: string; readonly at: string }>()
        expectTypeOf(index).toEqualTypeOf<number>()
        void tx
        return { held: item.sku, when: new Date() }
      },
      confirm: ({ item, result }) => {
        expectTypeOf(item.sku).toEqualTypeOf<string>()
        expectTypeOf(result).toEqualTypeOf<{ readonly held: string; readonly when: string }>()
      },
      cancel: ({ result, tried }) => {
        expectTypeOf(result).toEqualTypeOf<{ readonly held: string; readonly when: string } | undefined>()
        expectTypeOf(tried).toEqualTypeOf<boolean>()
      },
    })
    .each('reserve', {
      over: ({ results }) => results.hold.map(({ held }) => held),
      tcc: true,
      to: commands,
      request: ({ item }) => ({ sku: item, n: 1 }),
      reply: z.object({ left: z.number() }),
    })
    .step('end', {
      pivot: true,
      invoke: ({ results }) => {
        expectTypeOf(results.hold).toEqualTypeOf<readonly { readonly held: string; readonly when: string }[]>()
        expectTypeOf(results.reserve).toEqualTypeOf<readonly { left: number }[]>()
      },
    })
    // @ts-expect-error -- after the pivot nothing is reserved any more
    .each('late', { over: () => [1], try: () => 1, confirm: () => {}, cancel: () => {} })
})
