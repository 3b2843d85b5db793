import { ConcordatError } from 'concordat/core'
import { LockError } from 'concordat/locks'
import { describe, expect, it } from 'vitest'

const cause = new Error('boom')

/** error, code, retryable, parts of the message: operation, target, values, remedy */
const table: ReadonlyArray<readonly [ConcordatError, string, boolean, readonly string[]]> = [
  [
    new LockError('locks.busy', { key: 'k', owner: 'me', retryAfterMs: 12 }),
    'locks.busy',
    true,
    ['"k"', 'me', '12 ms', 'waitMs'],
  ],
  [
    new LockError('locks.timeout', { key: 'k', waitMs: 50, owner: undefined, position: 3 }),
    'locks.timeout',
    true,
    ['"k"', '50 ms', '3 ahead', 'wait longer'],
  ],
  [
    new LockError('locks.lost', { key: 'k', token: 7, reason: 'expired' }, cause),
    'locks.lost',
    true,
    ['"k"', 'token 7', 'Acquire again'],
  ],
  [
    new LockError('locks.lost', { key: 'k', token: 7, reason: 'displaced' }),
    'locks.lost',
    true,
    ['does not know it any more', 'Acquire again'],
  ],
  [new LockError('locks.lost', { key: 'k', token: 7, reason: 'max_hold' }), 'locks.lost', true, ['maxHoldMs']],
  [new LockError('locks.lost', { key: 'k', token: 7, reason: 'closed' }), 'locks.lost', true, ['before close()']],
  [new LockError('locks.lost', { key: 'k', token: 7, reason: 'released' }), 'locks.lost', true, ['after its release']],
  [
    new LockError('locks.store_unavailable', { store: 'redis', outcome: 'unknown', detail: 'no answer' }, cause),
    'locks.store_unavailable',
    true,
    ['redis', 'no answer', 'reachable'],
  ],
  [
    new LockError('locks.store_refused', { store: 'redis' }, cause),
    'locks.store_refused',
    false,
    ['redis', 'boom', 'permissions'],
  ],
  [
    new LockError('locks.fence_rejected', { resource: 'ledger', token: 3, lastToken: 9 }),
    'locks.fence_rejected',
    true,
    ['"ledger"', 'token 3', '9', 'acquire again'],
  ],
  [
    new LockError('locks.fenced_write_failed', { resource: 'stock:42', command: 'HSET', applied: 2 }, cause),
    'locks.fenced_write_failed',
    false,
    ['"stock:42"', 'HSET', 'boom', 'the 2 before it', 'Fix the command'],
  ],
  [new LockError('locks.reentered', { key: 'k' }), 'locks.reentered', false, ['"k"', 'pass the lease']],
  [
    new LockError('locks.holder_changed', { key: 'k', holders: ['b', 'c'] }),
    'locks.holder_changed',
    false,
    ['"k"', 'b, c holds it now', 'look again'],
  ],
  [new LockError('locks.closed'), 'locks.closed', false, ['closed']],
]

describe('errors', () => {
  it.each(table)('%s', (error, code, retryable, parts) => {
    expect(error).toBeInstanceOf(ConcordatError)
    expect(error).toMatchObject({ code, retryable, name: error.constructor.name })
    for (const part of parts) expect(error.message).toContain(part)
  })
})
