import { setImmediate as turn } from 'node:timers/promises'
import { currentLease, LEASE_HEADERS, leaseFromHeaders, leaseHeaders } from 'concordat/locks'
import { memoryLocks } from 'concordat/memory'
import { describe, expect, it } from 'vitest'

describe('currentLease', () => {
  it('is the lease of the innermost using, across awaits, and nothing outside', async () => {
    await using locks = memoryLocks()
    expect(currentLease()).toBeUndefined()
    await locks.using('a', {}, async (outer) => {
      expect(currentLease()).toBe(outer)
      await turn()
      await locks.using('b', {}, async (inner) => {
        await turn()
        expect(currentLease()).toBe(inner)
        expect(currentLease('a')).toBe(outer)
        expect(currentLease('c')).toBeUndefined()
      })
      expect(currentLease()).toBe(outer)
    })
    expect(currentLease()).toBeUndefined()
  })

  it('is separate in chains of calls that run at the same time', async () => {
    await using locks = memoryLocks()
    const keys = ['a', 'b', 'c', 'd']
    const seen = await Promise.all(
      keys.map((key) =>
        locks.using(key, {}, async () => {
          await turn()
          return currentLease()?.key
        }),
      ),
    )
    expect(seen).toEqual(keys)
  })

  it('is still the lease of the code after it was lost, so that its token is refused', async () => {
    const locks = memoryLocks()
    await expect(
      locks.using('a', {}, async (lease) => {
        await locks.close()
        expect(currentLease()).toBe(lease)
        expect(leaseHeaders()).toEqual({ 'lock-key': 'a', 'lock-token': String(lease.token) })
        expect(() => currentLease()?.assertValid()).toThrow(expect.objectContaining({ code: 'locks.lost' }))
      }),
    ).rejects.toMatchObject({ code: 'locks.lost' })
  })
})

describe('leaseHeaders', () => {
  it('carry key and token of the current lease, of a given one, or nothing', async () => {
    await using locks = memoryLocks()
    expect(leaseHeaders()).toEqual({})
    expect(leaseHeaders({ key: 'k', token: 7 })).toEqual({ 'lock-key': 'k', 'lock-token': '7' })
    await locks.using('sku:42', {}, (lease) => {
      expect(leaseHeaders()).toEqual({ 'lock-key': 'sku:42', 'lock-token': String(lease.token) })
      expect(leaseFromHeaders(leaseHeaders())).toEqual({ key: 'sku:42', token: lease.token })
    })
  })

  it('keep every token exact', () => {
    for (const token of [1, 1_763_625_600_000_000, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER]) {
      expect(leaseFromHeaders(leaseHeaders({ key: 'k', token }))).toEqual({ key: 'k', token })
    }
  })
})

it.for([
  [{ key: 'k', token: Number.NaN }, 'leaseHeaders.token'],
  [{ key: 'k', token: 0 }, 'leaseHeaders.token'],
  [{ key: 'k', token: 1.5 }, 'leaseHeaders.token'],
  [{ key: '', token: 1 }, 'leaseHeaders.key'],
  [{}, 'leaseHeaders.key'],
] as const)('leaseHeaders of %j are refused where they are made', ([lease, path]) => {
  expect(() => leaseHeaders(lease as never)).toThrow(path)
})

describe('leaseFromHeaders', () => {
  it('is undefined for a message that was sent under no lock', () => {
    expect(leaseFromHeaders({})).toBeUndefined()
    expect(leaseFromHeaders({ other: 'x' })).toBeUndefined()
    expect(leaseFromHeaders(Object.create({ 'lock-key': 'k', 'lock-token': '1' }))).toBeUndefined()
  })

  const forged: ReadonlyArray<readonly [what: string, headers: Readonly<Record<string, unknown>>]> = [
    ['a key without a token', { [LEASE_HEADERS.key]: 'k' }],
    ['a token without a key', { [LEASE_HEADERS.token]: '1' }],
    ['an empty key', { [LEASE_HEADERS.key]: '', [LEASE_HEADERS.token]: '1' }],
    ['a key of bytes', { [LEASE_HEADERS.key]: new Uint8Array([107]), [LEASE_HEADERS.token]: '1' }],
    ...[
      7,
      null,
      true,
      '',
      '0',
      '-1',
      '+1',
      '01',
      '1.0',
      '1e3',
      ' 1',
      '1\n',
      '0x10',
      '١',
      'NaN',
      'Infinity',
      '9007199254740992',
      '99999999999999999999',
      new Uint8Array([49]),
    ].map((token) => [`the token ${JSON.stringify(token)}`, { 'lock-key': 'k', 'lock-token': token }] as const),
  ]
  it.for(forged)('refuses %s, with an error that is not worth a retry', ([, headers]) => {
    expect(() => leaseFromHeaders(headers)).toThrow(
      expect.objectContaining({ code: 'locks.lease_headers', retryable: false }),
    )
  })
})
