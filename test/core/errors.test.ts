import { ConcordatError, hasCode } from 'concordat/core'
import { toError } from 'concordat/extension'
import { describe, expect, it } from 'vitest'
import { isRetryable } from '../support/inside/core.ts'

class TooLate extends ConcordatError {
  readonly code = 'test.too_late' as const
  readonly retryable = false as const
}

describe('ConcordatError', () => {
  it('is named after its class and keeps its cause', () => {
    const cause = new Error('first')
    const error = new TooLate('it is too late', { cause })
    expect(error.name).toBe('TooLate')
    expect(String(error)).toBe('TooLate: it is too late')
    expect(error.cause).toBe(cause)
  })
})

it('isRetryable is false only for an error that declares it', () => {
  expect(isRetryable(new TooLate('x'))).toBe(false)
  expect(isRetryable({ retryable: false })).toBe(false)
  expect(isRetryable(new Error('x'))).toBe(true)
  expect(isRetryable({ retryable: 0 })).toBe(true)
  expect([undefined, null, 'text', 7].map((value) => isRetryable(value))).toEqual([true, true, true, true])
})

it('hasCode matches the code of any class', () => {
  expect(hasCode(new TooLate('x'), 'test.too_late')).toBe(true)
  expect(hasCode({ code: 'test.too_late' }, 'test.too_late')).toBe(true)
  expect(hasCode(new TooLate('x'), 'test.other')).toBe(false)
  expect([undefined, null, 'test.too_late'].map((value) => hasCode(value, 'test.too_late'))).toEqual([
    false,
    false,
    false,
  ])
})

it('toError keeps an error and wraps anything else', () => {
  const error = new Error('same')
  expect(toError(error)).toBe(error)
  expect(toError('text')).toMatchObject({ message: 'text', cause: 'text' })
  expect(toError(undefined)).toMatchObject({ message: 'undefined' })
})

it('toError uses the message of a thrown object', () => {
  const thrown = { message: 'no such product', code: 'stock.none', retryable: false }
  expect(toError(thrown)).toMatchObject({ ...thrown, cause: thrown })
  expect(isRetryable(toError(thrown))).toBe(false)
  expect(toError({ status: 503 })).toMatchObject({ message: '{"status":503}' })
})

it('toError never throws', () => {
  const hostile = {
    get message(): string {
      throw new Error('never')
    },
    toJSON: () => Symbol('never').description,
  }
  for (const value of [Object.create(null), hostile, Symbol('s'), 5n, null])
    expect(toError(value)).toBeInstanceOf(Error)
})
