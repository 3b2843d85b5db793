import { ConcordatError } from 'concordat/core'
import {
  FencedWriteFailed,
  FenceRejected,
  LockBusy,
  LockLost,
  LockReentered,
  LockStoreRefused,
  LockStoreUnavailable,
  LocksClosed,
  LockTimeout,
} from 'concordat/locks'
import { describe, expect, it } from 'vitest'

const cause = new Error('boom')

/** error, code, retryable, parts of the message: operation, target, values, remedy */
const table: ReadonlyArray<readonly [ConcordatError, string, boolean, readonly string[]]> = [
  [new LockBusy('k', 'me', 12), 'locks.busy', true, ['"k"', 'me', '12 ms', 'waitMs']],
  [new LockTimeout('k', 50, undefined, 3), 'locks.timeout', true, ['"k"', '50 ms', '3 ahead', 'wait longer']],
  [new LockLost('k', 7, 'expired', { cause }), 'locks.lost', true, ['"k"', 'token 7', 'Acquire again']],
  [new LockLost('k', 7, 'displaced'), 'locks.lost', true, ['does not know it any more', 'Acquire again']],
  [new LockLost('k', 7, 'max_hold'), 'locks.lost', true, ['maxHoldMs']],
  [new LockLost('k', 7, 'closed'), 'locks.lost', true, ['before close()']],
  [new LockLost('k', 7, 'released'), 'locks.lost', true, ['after its release']],
  [
    new LockStoreUnavailable('redis', 'unknown', 'no answer', cause),
    'locks.store_unavailable',
    true,
    ['redis', 'no answer', 'reachable'],
  ],
  [new LockStoreRefused('redis', cause), 'locks.store_refused', false, ['redis', 'boom', 'permissions']],
  [new FenceRejected('ledger', 3, 9), 'locks.fence_rejected', true, ['"ledger"', 'token 3', '9', 'acquire again']],
  [
    new FencedWriteFailed('stock:42', 'HSET', 2, cause),
    'locks.fenced_write_failed',
    false,
    ['"stock:42"', 'HSET', 'boom', 'the 2 before it', 'Fix the command'],
  ],
  [new LockReentered('k'), 'locks.reentered', false, ['"k"', 'pass the lease']],
  [new LocksClosed(), 'locks.closed', false, ['closed']],
]

describe('errors', () => {
  it.each(table)('%s', (error, code, retryable, parts) => {
    expect(error).toBeInstanceOf(ConcordatError)
    expect(error).toMatchObject({ code, retryable, name: error.constructor.name })
    for (const part of parts) expect(error.message).toContain(part)
  })
})
