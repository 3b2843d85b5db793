import { LockError } from 'concordat/locks'
import { expect, it } from 'vitest'
import { isRetryable } from '../support/inside/core.ts'

it('an error has the fields, the message and the cause that its code was given', () => {
  const cause = new Error('cut')
  const error = new LockError(
    'locks.store_unavailable',
    { store: 'redis', outcome: 'unknown', detail: 'no answer' },
    cause,
  )
  expect(error).toMatchObject({
    code: 'locks.store_unavailable',
    name: 'LockError',
    store: 'redis',
    outcome: 'unknown',
  })
  expect(error.cause).toBe(cause)
  expect(isRetryable(error)).toBe(true)
  expect(new LockError('locks.closed').cause).toBeUndefined()
})

it('comparing the code of an error types its fields', () => {
  const error: unknown = new LockError('locks.lost', { key: 'k', token: 7, reason: 'expired' })
  const token: number | undefined = error instanceof LockError && error.code === 'locks.lost' ? error.token : undefined
  expect(token).toBe(7)
})
