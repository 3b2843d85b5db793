import { createElection } from 'concordat/election'
import { memoryLocks } from 'concordat/memory'
import { afterEach, describe, expect, it } from 'vitest'
import { drain } from '../../support/locks/fake-clock.ts'
import { closeAll, setup, TTL_MS } from '../support/candidates.ts'

afterEach(closeAll)

describe('an instance whose terms fail', () => {
  it('stays out longer each time, and starts afresh after a term that did not fail', async () => {
    const { clock, log, candidate } = setup()
    let isBroken = true
    const a = candidate('a', {
      coolDownMs: 1_000,
      onGranted: () => {
        if (isBroken) throw new Error('no')
      },
    })
    const grants = (): number => log.filter((line) => line === 'a granted').length
    const grantedWithin = async (ms: number): Promise<boolean> => {
      const before = grants()
      await clock.advance(ms)
      return grants() > before
    }
    await drain()
    expect(grants()).toBe(1)
    expect(a.health()).toMatchObject({
      status: 'down',
      detail: expect.stringContaining('the last term failed (no)'),
    })
    expect(await grantedWithin(799)).toBe(false)
    expect(await grantedWithin(202)).toBe(true)
    expect(await grantedWithin(1_398)).toBe(false)
    expect(await grantedWithin(603)).toBe(true)
    await clock.advance(300_000)
    const before = grants()
    await clock.advance(600_000)
    expect(grants() - before).toBeGreaterThanOrEqual(10)
    expect(grants() - before).toBeLessThanOrEqual(13)
    isBroken = false
    await clock.advance(60_000)
    expect(a.current()).toBeDefined()
    expect(a.health()).toEqual({ status: 'up' })
    isBroken = true
    await a.resign()
    await drain()
    expect(await grantedWithin(1_001)).toBe(true)
  })

  it('leaves the role to another one in between', async () => {
    const { clock, log, candidate } = setup()
    candidate('a', { coolDownMs: 5_000, onGranted: () => Promise.reject(new Error('no')) })
    await drain()
    candidate('b')
    await clock.advance(60_000)
    expect(log).toEqual(['a granted', 'a failed', 'b granted'])
  })
})

describe('priority', () => {
  it('lets candidates without a delay lead, and takes over when there are none', async () => {
    const { clock, log, candidate } = setup()
    candidate('last', { campaignDelayMs: 2_000 })
    const [a, b] = [candidate('a'), candidate('b')]
    await clock.advance(10_000)
    expect(log).toEqual(['a granted'])
    await a.close()
    await clock.advance(10_000)
    expect(log.slice(2)).toEqual(['b granted'])
    await b.close()
    await clock.advance(1_900)
    expect(log.at(-1)).toBe('b closed')
    await clock.advance(1_200)
    expect(log.at(-1)).toBe('last granted')
  })

  it('takes no existing leadership away', async () => {
    const { clock, log, candidate } = setup()
    candidate('last', { campaignDelayMs: 100 })
    await clock.advance(1_000)
    candidate('a')
    await clock.advance(60_000)
    expect(log).toEqual(['last granted'])
  })
})

describe('resigning', () => {
  it('keeps the instance out for stayOutMs', async () => {
    const { clock, log, candidate } = setup()
    const a = candidate('a')
    await drain()
    await a.resign({ stayOutMs: 5_000 })
    await clock.advance(4_999)
    expect(log).toEqual(['a granted', 'a resigned'])
    await clock.advance(1)
    expect(log.at(-1)).toBe('a granted')
    await expect(a.resign({ stayOutMs: -1 })).rejects.toThrow('election("r").resign.stayOutMs')
  })
})

describe('a lock delay', () => {
  it('keeps the role vacant after a leader that did not hand over, and not after one that did', async () => {
    const { clock, server, candidate } = setup()
    const gone = memoryLocks({ server, clock })
    await gone.acquire('election/r', { ttlMs: TTL_MS, maxHoldMs: 0, lockDelayMs: 2_000 })
    const b = candidate('b', { lockDelayMs: 2_000 })
    await clock.advance(TTL_MS + 500)
    expect(await b.leader()).toBeUndefined()
    expect(b.current()).toBeUndefined()
    await clock.advance(1_600)
    expect(b.current()).toBeDefined()
    candidate('c')
    await b.close()
    await drain()
    expect(await b.leader()).toMatchObject({ instance: 'c' })
  })
})

it('createElection refuses a ttl that ordinary stalls would end, without an explicit option', () => {
  const locks = memoryLocks()
  expect(() => createElection({ locks, role: 'r', ttlMs: 999 })).toThrow(
    'election("r").ttlMs: expected at least 1000, or allowShortTtl: true, got 999',
  )
  createElection({ locks, role: 'r', ttlMs: 999, allowShortTtl: true })
  expect(() => createElection({ locks, role: 'r', ttlMs: 99, allowShortTtl: true })).toThrow('election("r").ttlMs')
  for (const option of ['lockDelayMs', 'campaignDelayMs', 'coolDownMs']) {
    expect(() => createElection({ locks, role: 'r', [option]: -1 })).toThrow(`election("r").${option}`)
  }
})
