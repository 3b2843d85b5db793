import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { SendingTransaction } from '../../support/inside/outbox.ts'

const commands = defineChannel('stock.commands', { payload: z.object({ sku: z.string(), n: z.number() }) })
const begin = defineSaga('t', { version: 1, input: z.object({ id: z.string(), at: z.string().pipe(z.coerce.date()) }) })

test('a step sees the typed input and the typed results of the steps before it', () => {
  begin
    .step('open', {
      invoke: ({ input, results }) => {
        expectTypeOf(input.at).toEqualTypeOf<Date>()
        expectTypeOf<keyof typeof results>().toEqualTypeOf<never>()
        return { orderId: input.id, when: new Date() }
      },
      compensate: ({ result, failure }) => {
        expectTypeOf(result).toEqualTypeOf<{ readonly orderId: string; readonly when: string } | undefined>()
        expectTypeOf(failure.code).toEqualTypeOf<string>()
      },
    })
    .command('reserve', {
      to: commands,
      request: ({ results }) => ({ sku: results.open.orderId, n: 1 }),
      reply: z.object({ left: z.number() }),
      compensate: true,
    })
    .step('confirm', {
      pivot: true,
      invoke: async ({ results }) => {
        expectTypeOf(results.reserve.left).toEqualTypeOf<number>()
        expectTypeOf(results.open.when).toEqualTypeOf<string>()
      },
    })
    .step('announce', {
      invoke: ({ results }) => {
        expectTypeOf(results.confirm).toEqualTypeOf<undefined>()
      },
    })
})

test('only a transactional step gets a transaction', () => {
  begin.step('a', {
    transactional: true,
    invoke: ({ tx }) => {
      expectTypeOf(tx).toEqualTypeOf<SendingTransaction>()
    },
    compensate: ({ tx }) => {
      expectTypeOf(tx).toEqualTypeOf<SendingTransaction>()
    },
  })
  // @ts-expect-error -- no tx
  begin.step('a', { invoke: ({ tx }) => tx, compensate: 'none' })
})

test('a step without a compensation is one error, and later steps are none', () => {
  const counted = defineChannel('counted', { payload: z.object({ n: z.number() }) })
  const request = (): { n: number } => ({ n: 1 })
  begin
    // @ts-expect-error -- no compensate
    .step('a', { invoke: () => 1 })
    .step('b', { invoke: () => 'two', compensate: () => {} })
    // @ts-expect-error -- no compensate
    .command('c', { to: counted, request })
    .command('d', { to: counted, request, compensate: true })
    .tcc('e', { to: counted, request })
    .step('f', { pivot: true, invoke: ({ results }) => results.b.length })
    .step('g', { invoke: ({ results }) => results.f + 1 })
})

test('a transaction of a step sends what fits the channel', () => {
  const counted = defineChannel('counted', { payload: z.object({ n: z.number() }) })
  begin.step('a', {
    transactional: true,
    invoke: async ({ tx }) => {
      expectTypeOf(await tx.send(counted, { n: 1 })).toEqualTypeOf<{ readonly id: string }>()
      // @ts-expect-error -- wrong payload
      await tx.send(counted, { n: '1' })
    },
    compensate: 'none',
  })
})

test('a step must declare how it is undone, a step after the pivot cannot be', () => {
  // @ts-expect-error -- compensate is missing
  begin.step('a', { invoke: () => 1 })
  const pivoted = begin.step('a', { pivot: true, invoke: () => 1 })
  // @ts-expect-error -- only forward after the pivot
  pivoted.step('b', { invoke: () => 1, compensate: () => {} })
  // @ts-expect-error -- a second pivot
  pivoted.step('b', { pivot: true, invoke: () => 1 })
})

test('a step name is used once', () => {
  const one = begin.step('a', { invoke: () => 1, compensate: 'none' })
  // @ts-expect-error -- there is a step "a"
  one.step('a', { invoke: () => 2, compensate: 'none' })
})

test('a command sends what its channel takes', () => {
  // @ts-expect-error -- n is a number
  begin.command('a', { to: commands, request: () => ({ sku: 'x', n: '1' }), compensate: true })
})

test('timers and signals add their outcome to the results', () => {
  const paid = defineChannel('paid', { payload: z.object({ id: z.string(), at: z.coerce.date() }) })
  begin
    .timer('nap', { delay: ({ input }) => input.at })
    .signal('approval', { payload: z.object({ by: z.string().transform((by) => by.length) }) })
    .signal('payment', {
      from: paid,
      correlate: (payment) => {
        expectTypeOf(payment.at).toEqualTypeOf<Date>()
        return payment.id
      },
    })
    .step('end', {
      pivot: true,
      invoke: ({ results }) => {
        expectTypeOf(results.nap).toEqualTypeOf<undefined>()
        expectTypeOf(results.approval.by).toEqualTypeOf<number>()
        expectTypeOf(results.payment.at).toEqualTypeOf<string>()
      },
    })
    .timer('later', { delay: 1 })
    .signal('last', { payload: z.string() })
  // @ts-expect-error -- a duration or a Date
  begin.timer('nap', { delay: () => 'soon' })
  // @ts-expect-error -- correlate is missing
  begin.signal('payment', { from: paid })
})

test('results of a conditional block may be missing after it, and are there within it', () => {
  const blocks = begin
    .step('a', { invoke: () => 1, compensate: 'none' })
    .when(
      ({ input, results }) => {
        expectTypeOf(input.at).toEqualTypeOf<Date>()
        return results.a === 1
      },
      (saga) =>
        saga.signal('s', { payload: z.string() }).command('c', {
          to: commands,
          request: ({ results }) => ({ sku: results.s, n: 1 }),
          reply: z.object({ left: z.number() }),
          compensate: true,
        }),
    )
    .step('end', {
      pivot: true,
      invoke: ({ results }) => {
        expectTypeOf(results.a).toEqualTypeOf<number>()
        expectTypeOf(results.s).toEqualTypeOf<string | undefined>()
        expectTypeOf(results.c).toEqualTypeOf<{ left: number } | undefined>()
      },
    })
    .when(
      () => false,
      (saga) => saga.step('after', { invoke: () => 'x' }),
    )
  blocks.step('last', {
    invoke: ({ results }) => {
      expectTypeOf(results.after).toEqualTypeOf<string | undefined>()
    },
  })
  begin.when(
    // @ts-expect-error -- a promise is no answer
    async () => true,
    (saga) => saga.timer('t', { delay: 1 }),
  )
  begin.when(
    () => true,
    // @ts-expect-error -- the pivot cannot be left out
    (saga) => saga.step('p', { pivot: true, invoke: () => 1 }),
  )
})

test('steps of a group see earlier results, and all later steps see the group’s', () => {
  begin
    .step('a', { invoke: () => 1, compensate: 'none' })
    .parallel((group) =>
      group
        .step('b', { invoke: ({ results }) => `${results.a}`, compensate: 'none' })
        .command('c', {
          to: commands,
          request: ({ results }) => {
            expectTypeOf<keyof typeof results>().toEqualTypeOf<'a'>()
            return { sku: 'x', n: results.a }
          },
          reply: z.object({ left: z.number() }),
          compensate: true,
        })
        .signal('d', { payload: z.string() })
        .timer('e', { delay: 1 }),
    )
    .step('end', {
      pivot: true,
      invoke: ({ results }) => {
        expectTypeOf(results.b).toEqualTypeOf<string>()
        expectTypeOf(results.c.left).toEqualTypeOf<number>()
        expectTypeOf(results.d).toEqualTypeOf<string>()
      },
    })
  // @ts-expect-error -- a name is used once, also within a group
  begin.parallel((group) => group.timer('a', { delay: 1 }).timer('a', { delay: 1 }))
})

test('a saga as a step has the types of its input and results', () => {
  const child = defineSaga('child', { version: 1, input: z.object({ n: z.number() }) }).step('made', {
    invoke: () => 'x',
    compensate: 'none',
  })
  begin
    .saga('c', { saga: child, input: ({ input }) => ({ n: input.id.length }), compensate: true })
    .step('end', {
      pivot: true,
      invoke: ({ results }) => {
        expectTypeOf(results.c.made).toEqualTypeOf<string>()
      },
    })
    .saga('after', { saga: child, input: () => ({ n: 1 }) })
  // @ts-expect-error -- n is a number
  begin.saga('c', { saga: child, input: () => ({ n: 'one' }), compensate: true })
})

test('a step that reserves hands what try returned to confirm, to cancel and to later steps, and stands before the pivot', () => {
  const pivoted = begin
    .tcc('here', {
      try: ({ tx, input }) => {
        expectTypeOf(tx).toEqualTypeOf<SendingTransaction>()
        return { hold: input.id }
      },
      confirm: ({ result }) => {
        expectTypeOf(result).toEqualTypeOf<{ readonly hold: string }>()
      },
      cancel: ({ result, tried }) => {
        expectTypeOf(result).toEqualTypeOf<{ readonly hold: string } | undefined>()
        expectTypeOf(tried).toEqualTypeOf<boolean>()
      },
    })
    .parallel((group) =>
      group.tcc('there', {
        to: commands,
        request: ({ results }) => ({ sku: results.here.hold, n: 1 }),
        reply: z.object({ left: z.number() }),
      }),
    )
    .step('end', {
      pivot: true,
      invoke: ({ results }) => {
        expectTypeOf(results.there.left).toEqualTypeOf<number>()
      },
    })
  // @ts-expect-error -- after the pivot there is only forward
  pivoted.tcc('late', { try: () => 1, confirm: () => {}, cancel: () => {} })
  // @ts-expect-error -- what is reserved can be given up
  begin.tcc('a', { try: () => 1, confirm: () => {} })
})
