import { createElection, type Election, type Term } from 'concordat/election'
import { currentLease, leaseHeaders } from 'concordat/locks'
import { memoryLocks } from 'concordat/memory'
import { afterEach, describe, expect, it } from 'vitest'
import { drain } from '../../support/locks/fake-clock.ts'
import { closeAll, held, setup, TTL_MS } from '../support/candidates.ts'

afterEach(closeAll)

const isSettled = async (work: Promise<unknown>): Promise<boolean> => {
  let settled = false
  void work.then(() => {
    settled = true
  })
  await drain()
  return settled
}

describe('a handler', () => {
  it('a handler that rejects loses the leadership to the next in line', async () => {
    const { log, candidate } = setup()
    const reasons: unknown[] = []
    const a = candidate('a', {
      onGranted: () => Promise.reject(new Error('no')),
      onRevoked: (term) => void reasons.push(term.signal.reason),
    })
    await drain()
    expect(reasons).toMatchObject([{ code: 'election.term_over', reason: 'failed', cause: { message: 'no' } }])
    candidate('b')
    await drain()
    expect(log.slice(0, 3)).toEqual(['a granted', 'a failed', 'b granted'])
    expect(a.current()).toBeUndefined()
  })

  it('a handler that blocks the event loop beyond the lease no longer leads when it returns, nor does a later call', async () => {
    const { clock, log, candidate } = setup()
    let believed: unknown
    let blocked: number | undefined
    const a: Election = candidate('a', {
      onGranted: (term) => {
        if (log.length > 1) return
        clock.stall(TTL_MS + 1)
        blocked = term.term
        believed = [a.current(), term.signal.aborted, a.health().status]
        expect(() => term.assertValid()).toThrow()
      },
    })
    const begun: number[] = []
    a.whileLeading((term) => void begun.push(term.term))
    await drain()
    expect(believed).toEqual([undefined, true, 'down'])
    await clock.advance(1)
    expect(log.slice(0, 3)).toEqual(['a granted', 'a lost', 'a granted'])
    expect(begun).not.toContain(blocked)
    expect(begun).toEqual([a.current()?.term])
  })

  it('a handler that never returns does not keep a lost lease, nor another candidate out', async () => {
    const { clock, log, candidate } = setup()
    const never = held()
    const a = candidate('a', { onGranted: () => never.opened, onRevoked: () => never.opened, stopGraceMs: 300 })
    await drain()
    candidate('b')
    const resigning = a.resign()
    await clock.advance(300)
    await resigning
    await drain()
    expect(log).toEqual(['a granted', 'a resigned', 'b granted'])
    expect(a.health()).toMatchObject({ status: 'down' })
    never.open()
    await drain()
    expect(a.health()).toEqual({ status: 'up' })
  })

  it.for(['onGranted', 'onRevoked', 'whileLeading'] as const)(
    'that calls close() and awaits it inside %s does not wait for itself',
    async (where) => {
      const { log, candidate } = setup()
      const ended: string[] = []
      const closeIt = async (): Promise<void> => {
        await a.close()
        ended.push(where)
      }
      const a: Election = candidate('a', where === 'whileLeading' ? {} : { [where]: closeIt })
      if (where === 'whileLeading') a.whileLeading(closeIt)
      await drain()
      if (where === 'onRevoked') await a.resign()
      await drain()
      expect(ended).toEqual([where])
      expect(a.status().state).toBe('closed')
      expect(log).toEqual(['a granted', where === 'onRevoked' ? 'a resigned' : 'a closed'])
      candidate('b')
      await drain()
      expect(log.at(-1)).toBe('b granted')
    },
  )

  it('that calls resign() and awaits it does not wait for itself, and comes back behind the others', async () => {
    const { log, candidate } = setup()
    let times = 0
    const a: Election = candidate('a', {
      onGranted: async () => {
        if (times++ > 0) return
        await inLine.opened
        await a.resign()
        log.push('a has resigned')
      },
    })
    const inLine = held()
    await drain()
    candidate('b')
    await drain()
    inLine.open()
    await drain()
    expect(log.toSorted()).toEqual(['a granted', 'a has resigned', 'a resigned', 'b granted'])
    expect(log.at(-1)).toBe('b granted')
  })

  it('a handler that calls resign() through another function, after an await, does not wait for itself either', async () => {
    const { log, candidate } = setup()
    const deep = async (): Promise<void> => {
      await Promise.resolve()
      if (a.status().terms === 1) await a.resign()
    }
    const a: Election = candidate('a', { onGranted: () => deep().then(deep) })
    await drain()
    expect(log.slice(0, 3)).toEqual(['a granted', 'a resigned', 'a granted'])
  })

  it('is waited for by a close() from elsewhere', async () => {
    const { candidate } = setup()
    const work = held()
    const a = candidate('a', { onGranted: () => work.opened })
    await drain()
    const closing = a.close()
    expect(await isSettled(closing)).toBe(false)
    work.open()
    expect(await isSettled(closing)).toBe(true)
  })

  it('is awaited by a resign() of its background work, which is no longer inside of it', async () => {
    const { candidate } = setup()
    const work = held()
    const orders = Promise.withResolvers<void>()
    let resigned: Promise<void> | undefined
    const a: Election = candidate('a', {
      onGranted: () => {
        void orders.promise.then(() => {
          resigned ??= a.resign()
        })
      },
      onRevoked: () => work.opened,
    })
    await drain()
    orders.resolve()
    await drain()
    expect(await isSettled(resigned as Promise<void>)).toBe(false)
    work.open()
    expect(await isSettled(resigned as Promise<void>)).toBe(true)
  })

  it('runs under the lease of the role, which ends with the term and resigns when it is released', async () => {
    const { log, candidate } = setup()
    const seen: unknown[] = []
    candidate('a', {
      onGranted: async (term) => {
        if (seen.length > 0) return
        await Promise.resolve()
        const lease = currentLease()
        seen.push(lease?.key, lease?.token === term.term, lease?.state)
        expect(leaseHeaders()).toEqual(leaseHeaders(term))
        lease?.assertValid()
        seen.push(await lease?.release(), lease?.state)
        expect(() => lease?.assertValid()).toThrow(expect.objectContaining({ code: 'election.term_over' }))
      },
    })
    await drain()
    expect(seen).toEqual(['election/r', true, 'held', 'unconfirmed', 'releasing'])
    expect(log.slice(0, 2)).toEqual(['a granted', 'a resigned'])
    expect(currentLease()).toBeUndefined()
  })
})

describe('the process', () => {
  it('is kept alive by an election until it is closed, whether it leads or not, and not by a handler that is stuck', async () => {
    const { clock, server } = setup()
    let sleeping = 0
    const counting = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      setTimer: (durationMs: number, callback: () => void) => clock.setTimer(durationMs, callback),
      sleep: async (durationMs: number, signal?: AbortSignal) => {
        sleeping++
        await clock.sleep(durationMs, signal).finally(() => sleeping--)
      },
    }
    const never = held()
    const locks = memoryLocks({ server, clock })
    const hold = (): Promise<void> => never.opened
    const a = createElection({ locks, role: 'r', clock: counting, stopGraceMs: 200, onGranted: hold })
    const b = createElection({ locks: memoryLocks({ server, clock }), role: 'r', clock: counting })
    a.start()
    await drain()
    expect(a.current()).toBeDefined()
    expect(sleeping).toBe(1)
    b.start()
    await drain()
    expect(sleeping).toBe(2)
    await b.close()
    await drain()
    expect(sleeping).toBe(1)
    const closing = a.close()
    await drain()
    expect(sleeping).toBe(1)
    await clock.advance(200)
    await closing
    await drain()
    expect(sleeping).toBe(0)
  })
})

describe('work given to whileLeading', () => {
  it('is called in each term, also in the running one, and not after it was removed', async () => {
    const { candidate } = setup()
    const a = candidate('a')
    await drain()
    const terms: Term[] = []
    const stop = a.whileLeading((term) => void terms.push(term))
    await drain()
    expect(terms).toEqual([a.current()])
    await a.resign()
    await drain()
    expect(terms).toHaveLength(2)
    expect(terms[1]?.term).toBeGreaterThan(terms[0]?.term as number)
    stop()
    await a.resign()
    await drain()
    expect(a.current()).toBeDefined()
    expect(terms).toHaveLength(2)
  })

  it('by a listener or a handler of the term is called once in it', async () => {
    const { candidate } = setup()
    const calls: string[] = []
    const a: Election = candidate('a', {
      onGranted: () => {
        if (calls.length < 2) a.whileLeading(() => void calls.push('of a handler'))
      },
    })
    const stop = a.subscribe(() => {
      stop()
      a.whileLeading(() => void calls.push('of a listener'))
    })
    const takenBack = a.whileLeading(() => void calls.push('taken back'))
    a.subscribe(() => takenBack())
    await drain()
    expect(calls.toSorted()).toEqual(['of a handler', 'of a listener'])
  })

  it('is awaited by the hand-over, and ends the term when it throws', async () => {
    const { log, candidate } = setup()
    const work = held()
    const a = candidate('a')
    a.whileLeading(() => work.opened)
    await drain()
    const resigning = a.resign()
    expect(await isSettled(resigning)).toBe(false)
    work.open()
    await resigning
    const b = candidate('b')
    await drain()
    b.whileLeading(() => {
      throw new Error('no')
    })
    await a.close()
    await drain()
    expect(log.slice(-2)).toEqual(['b granted', 'b failed'])
  })
})

describe('roles of one process', () => {
  it('share their locks, and a handler that is stuck in one does not touch the others', async () => {
    const { clock, server, candidate } = setup()
    const locks = memoryLocks({ server, clock })
    const never = held()
    const stuck = candidate('x', { locks, role: 'stuck', stopGraceMs: 200, onGranted: () => never.opened })
    const free = candidate('x', { locks, role: 'free' })
    await drain()
    const resigning = stuck.resign()
    await clock.advance(200)
    await resigning
    await clock.advance(30_000)
    expect(stuck.health().status).toBe('down')
    expect(free.current()).toBeDefined()
    await free.resign()
    await drain()
    expect(free.status()).toMatchObject({ state: 'leading', terms: 2 })
    await free.close()
    await stuck.close()
    expect(locks.health()).toMatchObject({ held: 0, waiting: 0 })
  })
})
