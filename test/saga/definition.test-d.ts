import { defineChannel } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { expectTypeOf, test } from 'vitest'
import { z } from 'zod'

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
      expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
    },
    compensate: ({ tx }) => {
      expectTypeOf(tx).toEqualTypeOf<SqlTransaction>()
    },
  })
  // @ts-expect-error -- no tx
  begin.step('a', { invoke: ({ tx }) => tx, compensate: 'none' })
})

test('a step must say how it is undone, a step after the pivot can not be', () => {
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
