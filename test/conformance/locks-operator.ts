import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { until } from '../support/until.ts'
import { inLine, type LocksContext } from './locks-kit.ts'

const FORCE = { by: 'ada', reason: 'the node is gone' }

export function operatorCases(context: LocksContext): void {
  if (!context.has('operator')) {
    it('refuses lists, forced releases and audits, which the store declares missing', async () => {
      const locks = context.contender()
      await expect(locks.list()).rejects.toMatchObject({ code: 'locks.unsupported' })
      await expect(locks.forceRelease('k', FORCE)).rejects.toMatchObject({ code: 'locks.unsupported' })
      await expect(locks.audit('k')).rejects.toMatchObject({ code: 'locks.unsupported' })
    })
    return
  }
  lookingCases(context)
  forcingCases(context)
  if (context.has('shared')) readerCases(context)
}

function lookingCases({ contender, has }: LocksContext): void {
  const modes = has('shared') ? (['exclusive', 'shared'] as const) : (['exclusive'] as const)
  describe('looking', () => {
    it('shows who holds a key since when, and who waits for it', async () => {
      const [a, b, key] = [contender({ owner: 'a' }), contender({ owner: 'b' }), randomUUID()]
      const lease = await a.acquire(key, { ttlMs: 5_000 })
      const waiting = b.acquire(key)
      await inLine(a, key, 1)
      expect(await b.inspect(key)).toMatchObject({
        key,
        holders: [{ owner: 'a', mode: 'exclusive', token: lease.token }],
        waiters: [{ owner: 'b', mode: 'exclusive' }],
      })
      await lease.release()
      await (await waiting).release()
      expect(await a.inspect(key)).toBeUndefined()
    })

    it('knows since when, although the token is ahead of the clock', async () => {
      const [a, key] = [contender(), randomUUID()]
      const tokenAbove = (Date.now() + 3_600_000) * 1_000
      for (const mode of modes) {
        const lease = await a.acquire(key, { tokenAbove, mode })
        const [holder] = (await a.inspect(key))?.holders ?? []
        expect(holder?.token).toBe(lease.token)
        expect(Math.abs((holder?.sinceAt ?? 0) - Date.now())).toBeLessThan(2_000)
        await lease.release()
      }
    })

    it('lists what is held, of one prefix, no more than asked for', async () => {
      const [a, b, id] = [contender({ owner: 'a' }), contender(), `${randomUUID()}*[?]\\`]
      const keys = Array.from({ length: 6 }, (_, n) => `${id} ${n}}:line`)
      const leases = await Promise.all(keys.map((key, n) => a.acquire(key, { mode: modes[n % modes.length] })))
      await a.acquire(`x ${id}`)
      const all = await b.list({ prefix: id })
      expect(all.map((info) => info.key).toSorted()).toEqual(keys)
      expect(all.every((info) => info.holders.length === 1 && info.holders[0]?.owner === 'a')).toBe(true)
      expect(await b.list({ prefix: id, limit: 2 })).toHaveLength(2)
      await leases[0]?.release()
      expect(await b.list({ prefix: id })).toHaveLength(5)
      await expect(b.list({ limit: 0 })).rejects.toThrow('list.limit')
      await expect(b.list({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
    })
  })
}

function forcingCases({ contender }: LocksContext): void {
  describe('a forced release', () => {
    it('gives the key to the next waiter under a token above the one it returns, which is above the old one', async () => {
      const [a, b, c, key] = [contender({ owner: 'a' }), contender({ heartbeatMs: 20_000 }), contender(), randomUUID()]
      const lease = await a.acquire(key, { ttlMs: 60_000 })
      const waiting = b.acquire(key)
      await inLine(c, key, 1)
      const forced = await c.forceRelease(key, FORCE)
      const next = await waiting
      expect(forced).toMatchObject({ key, ...FORCE, ended: [{ owner: 'a', token: lease.token, mode: 'exclusive' }] })
      expect(forced.token).toBeGreaterThan(lease.token)
      expect(next.token).toBeGreaterThan(forced.token)
      expect(Math.abs(forced.at - Date.now())).toBeLessThan(2_000)
      expect(await lease.release()).toBe('lost')
      expect(() => lease.assertValid()).toThrow(
        expect.objectContaining({ reason: 'forced', message: expect.stringContaining('ada released it by force') }),
      )
      next.assertValid()
    })

    it('is learned by the holder with its next renewal, by whom and why', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const lease = await a.acquire(key, { ttlMs: 600 })
      const lost = new Promise((resolve) => lease.signal.addEventListener('abort', () => resolve(lease.signal.reason)))
      await b.forceRelease(key, FORCE)
      expect(await lost).toMatchObject({ code: 'locks.lost', reason: 'forced' })
      expect(String(await lost)).toContain('ada released it by force: the node is gone')
    })

    it('is learned at once by a holder whose process is subscribed, because it has waited before', async () => {
      const [a, b, key] = [contender(), contender(), randomUUID()]
      const before = await b.acquire(key)
      const waiting = a.acquire(key, { ttlMs: 60_000 })
      await inLine(b, key, 1)
      await before.release()
      const lease = await waiting
      const begun = performance.now()
      await b.forceRelease(key, FORCE)
      await until('it is lost', () => lease.state === 'lost')
      await expectWithin(performance.now() - begun, 10_000)
      expect(lease.signal.reason).toMatchObject({ reason: 'forced' })
    })

    it('also raises the token of a free key', async () => {
      const [locks, key] = [contender(), randomUUID()]
      const before = await locks.acquire(key)
      await before.release()
      const forced = await locks.forceRelease(key, FORCE)
      expect(forced.ended).toEqual([])
      expect(forced.token).toBeGreaterThan(before.token)
      expect((await locks.acquire(key)).token).toBeGreaterThan(forced.token)
    })

    it('ends nothing when another holder came than the tokens name', async () => {
      const [a, b, key] = [contender({ owner: 'a' }), contender({ owner: 'b' }), randomUUID()]
      const changed = { code: 'locks.holder_changed', key, holders: ['a'] }
      const lease = await a.acquire(key, { ttlMs: 60_000 })
      for (const tokens of [[], [lease.token - 1, lease.token + 1]])
        await expect(b.forceRelease(key, { ...FORCE, tokens })).rejects.toMatchObject(changed)
      expect(await b.audit(key)).toEqual([])
      lease.assertValid()
      expect(await lease.release()).toBe('released')
      expect((await b.forceRelease(key, { ...FORCE, tokens: [lease.token] })).ended).toEqual([])
    })

    it('never ends the lease of a waiter that gets the lock at the same moment', async () => {
      const [a, b, operator] = [contender({ owner: 'a' }), contender({ owner: 'b' }), contender()]
      for (let n = 0; n < 20; n++) {
        const key = randomUUID()
        const lease = await a.acquire(key)
        const next = b.acquire(key)
        await inLine(operator, key, 1)
        const force = () => operator.forceRelease(key, { ...FORCE, tokens: [lease.token] })
        const calls: Array<() => Promise<unknown>> = [() => lease.release(), force]
        const outcomes = await Promise.allSettled((n % 2 === 0 ? calls : calls.reverse()).map((call) => call()))
        for (const outcome of outcomes)
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'locks.holder_changed' })
        const taken = await next
        expect((await operator.audit(key)).flatMap(({ ended }) => ended.map(({ owner }) => owner))).not.toContain('b')
        expect(await taken.release()).toBe('released')
      }
    })

    it('is on record: who, when, why and whom, oldest first, the last hundred', async () => {
      const [locks, key] = [contender({ owner: 'me' }), randomUUID()]
      expect(await locks.audit(key)).toEqual([])
      await locks.acquire(key)
      const first = await locks.forceRelease(key, FORCE)
      const second = await locks.forceRelease(key, { by: 'bob "ü\n', reason: '{}' })
      expect(await locks.audit(key)).toEqual([first, second])
      for (let n = 0; n < 101; n++) await locks.forceRelease(key, { by: `${n}`, reason: 'again' })
      const trail = await locks.audit(key)
      expect(trail).toHaveLength(100)
      expect([trail[0]?.by, trail.at(-1)?.by]).toEqual(['1', '100'])
      expect(await locks.audit(`${key} 2`)).toEqual([])
    })

    it('needs the name of who does it, and a reason', async () => {
      const [locks, key] = [contender(), randomUUID()]
      const lease = await locks.acquire(key)
      await expect(locks.forceRelease(key, { by: '', reason: 'x' })).rejects.toThrow(`forceRelease("${key}").by`)
      await expect(locks.forceRelease(key, { by: 'x' } as never)).rejects.toThrow(`forceRelease("${key}").reason`)
      await expect(locks.forceRelease('', FORCE)).rejects.toThrow(TypeError)
      await expect(locks.forceRelease(key, { ...FORCE, why: 1 } as never)).rejects.toThrow('why')
      const odd = locks.forceRelease(key, { ...FORCE, tokens: ['1'] as never })
      await expect(odd).rejects.toThrow(`forceRelease("${key}").tokens[0]`)
      await expect(locks.forceRelease(key, { ...FORCE, tokens: 1 as never })).rejects.toThrow('a list of tokens')
      expect(await locks.audit(key)).toEqual([])
      lease.assertValid()
    })
  })
}

function readerCases({ contender }: LocksContext): void {
  describe('readers', () => {
    it('are shown with holders of permits, and who waits behind them, in order', async () => {
      const [a, b, key] = [contender({ owner: 'a' }), contender({ owner: 'b' }), randomUUID()]
      expect(await a.inspect(key)).toBeUndefined()
      const before = Date.now()
      const reading = await a.acquire(key, { mode: 'shared', ttlMs: 5_000 })
      const permitted = await b.acquire(key, { permits: 4, ttlMs: 60_000 })
      const waiting = [
        b.acquire(key, { owner: 'w1' }),
        inLine(a, key, 1).then(() => a.acquire(key, { permits: 4, owner: 'p2' })),
        inLine(a, key, 2).then(() => a.acquire(key, { mode: 'shared', owner: 'r3' })),
      ]
      await inLine(a, key, 3)
      const info = await a.inspect(key)
      expect(info).toMatchObject({
        key,
        holders: [
          { owner: 'a', mode: 'shared', token: reading.token },
          { owner: 'b', mode: 'shared', permits: 4, token: permitted.token },
        ],
        waiters: [
          { owner: 'w1', mode: 'exclusive' },
          { owner: 'p2', mode: 'shared', permits: 4 },
          { owner: 'r3', mode: 'shared' },
        ],
      })
      const [first, second] = info?.holders ?? []
      expect(Math.abs((first?.sinceAt ?? 0) - before)).toBeLessThan(2_000)
      expect(first?.expiresInMs).toBeGreaterThan(3_000)
      expect(first?.expiresInMs).toBeLessThanOrEqual(5_000)
      expect(second?.expiresInMs).toBeGreaterThan(50_000)
      expect(second?.freesInMs).toBe(second?.expiresInMs)
      await reading.release()
      await permitted.release()
      for (const lease of waiting) await (await lease).release()
      expect(await a.inspect(key)).toBeUndefined()
    })

    it('all end with a forced release', async () => {
      const [a, b, key] = [contender({ owner: 'a' }), contender({ owner: 'b' }), randomUUID()]
      const readers = [await a.acquire(key, { mode: 'shared' }), await b.acquire(key, { mode: 'shared' })]
      const waiting = b.acquire(key)
      await inLine(a, key, 1)
      const { ended, token } = await a.forceRelease(key, FORCE)
      expect(ended.map(({ owner, mode }) => `${owner} ${mode}`).toSorted()).toEqual(['a shared', 'b shared'])
      expect(token).toBeGreaterThan(Math.max(...readers.map((lease) => lease.token)))
      for (const reader of readers) expect(await reader.release()).toBe('lost')
      await (await waiting).release()
    })

    it('all stay when the tokens of a forced release leave out one', async () => {
      const [a, b, key] = [contender({ owner: 'a' }), contender({ owner: 'b' }), randomUUID()]
      const readers = [await a.acquire(key, { mode: 'shared' }), await b.acquire(key, { mode: 'shared' })]
      const tokens = readers.map(({ token }) => token)
      const refused = b.forceRelease(key, { ...FORCE, tokens: tokens.slice(1) })
      await expect(refused).rejects.toMatchObject({ code: 'locks.holder_changed', key, holders: ['a'] })
      for (const reader of readers) reader.assertValid()
      const forced = await b.forceRelease(key, { ...FORCE, tokens: [...tokens, 1] })
      expect(new Set(forced.ended.map(({ token }) => token))).toEqual(new Set(tokens))
      expect((await b.forceRelease(key, { ...FORCE, tokens })).ended).toEqual([])
    })
  })
}
