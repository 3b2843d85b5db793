import { expect, it } from 'vitest'

/** A module instance of its own: the known types belong to a process, which other files share. */
const OWN = '../../core/telemetry-interface.ts?types'
const { errorType } = (await import(OWN)) as { readonly errorType: (error: unknown) => string }

const coded = (code: string): Error => Object.assign(new TypeError('no such order'), { code })

it('the type of an error is its code, or its class when the code is a sentence', () => {
  expect(errorType(coded('orders.missing'))).toBe('orders.missing')
  expect(errorType(coded('order o-199 not found'))).toBe('TypeError')
})

it('the number of error types is bounded, with any number of codes', () => {
  const types = new Set(Array.from({ length: 1_000 }, (_, n) => errorType(coded(`order.o-${n}`))))
  expect(types.size).toBeLessThanOrEqual(201)
  expect(types).toContain('other')
})
