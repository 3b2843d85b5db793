import { createElection, type Election } from 'concordat/election'
import { createLocks, LockError } from 'concordat/locks'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { afterEach, describe, expect, it } from 'vitest'
import type { ElectionEvent, ElectionOptions } from '../../support/inside/election.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { ScriptedStore, silence } from '../../support/locks/scripted-store.ts'
import { gate } from '../../support/until.ts'

const open: Election[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((election) => election.close()))
})

/** Candidates on one memory store and one standing clock; everything that happens is logged in order. */
function setup() {
  const clock = new FakeClock()
  const server = memoryLockServer({ clock })
  const log: string[] = []
  const candidate = (instance: string, options: Partial<ElectionOptions> = {}): Election => {
    const locks = memoryLocks({ server, clock })
    const election = createElection({
      locks,
      role: 'r',
      instance,
      ttlMs: 1_000,
      clock,
      retryMs: 100,
      coolDownMs: 100,
      ...options,
    })
    election.subscribe((event) => log.push(`${instance} ${event.type}`))
    open.push(election)
    return election
  }
  return { clock, log, candidate }
}

/** Closing needs the fake clock to move when it waits for a grace. */
async function settled(clock: FakeClock, work: Promise<void>, ms = 0): Promise<void> {
  let done = false
  void work.then(() => {
    done = true
  })
  for (let passed = 0; !done && passed <= ms; passed += 10) await clock.advance(10)
  await work
}

describe('an election', () => {
  it('grants one term at a time, with rising terms, and hands over at close', async () => {
    const { clock, log, candidate } = setup()
    const [a, b] = [candidate('a'), candidate('b')]
    expect(a.status()).toMatchObject({ state: 'idle', role: 'r', instance: 'a', terms: 0 })
    a.start()
    await drain()
    b.start()
    await drain()
    const first = a.current()
    expect(first).toMatchObject({ role: 'r', instance: 'a' })
    expect(b.current()).toBeUndefined()
    expect(b.status().state).toBe('campaigning')
    expect(await b.leader()).toMatchObject({ instance: 'a', term: first?.term })
    await clock.advance(60_000)
    expect(a.current()).toBe(first)
    await a.close()
    await drain()
    expect(first?.signal.aborted).toBe(true)
    expect(b.current()?.term).toBeGreaterThan(first?.term as number)
    expect(log).toEqual(['a granted', 'a revoked', 'b granted'])
    expect(a.status().state).toBe('closed')
  })

  it('replaces a leader that vanished when its lease ends, at once', async () => {
    const { clock, candidate } = setup()
    const server = memoryLockServer({ clock })
    const vanished = memoryLocks({ server, clock })
    await vanished.acquire('election/r', { ttlMs: 1_000, maxHoldMs: 0 })
    const b = candidate('b', { locks: memoryLocks({ server, clock }) })
    b.start()
    await clock.advance(999)
    expect(b.current()).toBeUndefined()
    await clock.advance(3)
    expect(b.current()).toBeDefined()
  })

  it('flips its status before the lease is given back', async () => {
    const { candidate } = setup()
    const stop = gate()
    const a = candidate('a', { onRevoked: () => stop.opened })
    const b = candidate('b')
    a.start()
    await drain()
    b.start()
    await drain()
    const closing = a.close()
    await drain()
    expect(a.current()).toBeUndefined()
    expect(a.status().state).toBe('stepping_down')
    expect(b.current()).toBeUndefined()
    expect(await b.leader()).toMatchObject({ instance: 'a' })
    stop.open()
    await closing
    await drain()
    expect(b.current()).toBeDefined()
  })

  it('keeps renewing while the handlers of a hand-over run', async () => {
    const { clock, log, candidate } = setup()
    const stop = gate()
    const a = candidate('a', { onRevoked: () => stop.opened })
    const b = candidate('b')
    a.start()
    await drain()
    b.start()
    const closing = a.close()
    await clock.advance(5_000)
    expect(log).toEqual(['a granted', 'a revoked'])
    stop.open()
    await closing
    await drain()
    expect(log).toEqual(['a granted', 'a revoked', 'b granted'])
  })

  it('resigns, queues behind the others, and comes back', async () => {
    const { log, candidate } = setup()
    const [a, b] = [candidate('a'), candidate('b')]
    a.start()
    await drain()
    b.start()
    await drain()
    await a.resign()
    await drain()
    expect(b.current()).toBeDefined()
    await b.resign()
    await drain()
    expect(a.status()).toMatchObject({ state: 'leading', terms: 2 })
    expect(log).toEqual(['a granted', 'a revoked', 'b granted', 'b revoked', 'a granted'])
  })

  it('leaves the line when a candidate closes', async () => {
    const { log, candidate } = setup()
    const [a, b, c] = [candidate('a'), candidate('b'), candidate('c')]
    for (const each of [a, b, c]) {
      each.start()
      await drain()
    }
    await b.close()
    await a.close()
    await drain()
    expect(log).toEqual(['a granted', 'a revoked', 'c granted'])
  })

  it('notifies no listener before start, and stays closed', async () => {
    const { log, candidate } = setup()
    const a = candidate('a')
    expect(await a.leader()).toBeUndefined()
    expect(a.health()).toEqual({ status: 'idle' })
    await a.close()
    expect(() => a.start()).toThrow(expect.objectContaining({ code: 'election.closed' }))
    await drain()
    expect(a.current()).toBeUndefined()
    expect(a.health()).toEqual({ status: 'closed' })
    expect(log).toEqual([])
  })
})

describe('handlers', () => {
  it('get the term, and onRevoked the reason', async () => {
    const { candidate } = setup()
    const seen: unknown[] = []
    const a = candidate('a', {
      onGranted: (term) => {
        term.assertValid(100)
        seen.push(term)
      },
      onRevoked: (term, reason) => void seen.push(term, reason, term.signal.aborted),
    })
    a.start()
    await drain()
    const term = a.current()
    await a.close()
    expect(seen).toEqual([term, term, 'closed', true])
    expect(() => term?.assertValid()).toThrow(expect.objectContaining({ code: 'election.term_over', reason: 'closed' }))
  })

  it('handlers that throw lose the leadership to the next, and campaign again after a pause', async () => {
    const { clock, log, candidate } = setup()
    let failures = 0
    const a = candidate('a', {
      onGranted: () => {
        if (failures++ === 0) throw new Error('cannot lead')
      },
    })
    a.start()
    await drain()
    expect(log).toEqual(['a granted', 'a revoked'])
    expect(a.current()).toBeUndefined()
    await clock.advance(200)
    expect(log).toEqual(['a granted', 'a revoked', 'a granted'])
    expect(a.current()).toBeDefined()
  })

  it('that throws in onRevoked or a listener changes nothing', async () => {
    const { candidate, log } = setup()
    const a = candidate('a', {
      onRevoked: () => {
        throw new Error('no')
      },
    })
    a.subscribe(() => {
      throw new Error('no')
    })
    a.start()
    await drain()
    await a.resign()
    await drain()
    expect(log).toEqual(['a granted', 'a revoked', 'a granted'])
  })

  it('handlers that never return cannot keep the leadership, and keep only their own instance out', async () => {
    const { clock, log, candidate } = setup()
    const never = new Promise<void>(() => {})
    const a = candidate('a', { onGranted: () => never, stopGraceMs: 500 })
    const b = candidate('b')
    a.start()
    await drain()
    b.start()
    await drain()
    await settled(clock, a.resign(), 1_000)
    await drain()
    expect(b.current()).toBeDefined()
    expect(a.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('has not returned') })
    await b.resign()
    await clock.advance(10)
    expect(log).toEqual(['a granted', 'a revoked', 'b granted', 'b revoked', 'b granted'])
    await settled(clock, a.close(), 1_000)
  })

  it('handlers of a term end before the next term of the same instance begins', async () => {
    const { clock, log, candidate } = setup()
    const work = gate()
    const a = candidate('a', {
      onGranted: async () => {
        await work.opened
        log.push('a work ended')
      },
    })
    a.start()
    await drain()
    const resigning = a.resign()
    await clock.advance(3_000)
    expect(log).toEqual(['a granted', 'a revoked'])
    work.open()
    await resigning
    await drain()
    expect(log.slice(0, 4)).toEqual(['a granted', 'a revoked', 'a work ended', 'a granted'])
  })
})

describe('a store that fails', () => {
  function scripted(options: Partial<ElectionOptions> = {}) {
    const clock = new FakeClock()
    const store = new ScriptedStore()
    const events: ElectionEvent[] = []
    const locks = createLocks(store, { clock })
    const election = createElection({ locks, role: 'r', ttlMs: 1_000, retryMs: 100, clock, ...options })
    election.subscribe((event) => events.push(event))
    open.push(election)
    return { clock, store, events, election }
  }

  it('revokes at the deadline although the store is silent', async () => {
    const { clock, store, events, election } = scripted()
    for (let n = 0; n < 30; n++) store.extends.push(silence())
    election.start()
    await drain()
    const term = election.current()
    store.acquires.push(
      new LockError('locks.store_unavailable', { store: 'scripted', outcome: 'not_done', detail: 'down' }),
    )
    await clock.advance(967)
    expect(election.current()).toBe(term)
    await clock.advance(1)
    expect(election.current()).toBeUndefined()
    expect(term?.signal.reason).toMatchObject({ code: 'election.term_over', reason: 'lost' })
    expect(events.map((event) => event.type)).toEqual(['granted', 'revoked'])
    expect(events[1]).toMatchObject({ reason: 'lost', term: term?.term })
  })

  it('ends the leadership by the clocks, after a stall in which no timer fired', async () => {
    const { clock, election } = scripted()
    election.start()
    await drain()
    expect(election.status().state).toBe('leading')
    clock.stall(968)
    expect(election.current()).toBeUndefined()
    expect(election.status().state).toBe('stepping_down')
  })

  it('ends the campaign when the locks are closed under it', async () => {
    const clock = new FakeClock()
    const locks = memoryLocks({ clock })
    const election = createElection({ locks, role: 'r', clock, ttlMs: 1_000 })
    election.start()
    await drain()
    expect(election.current()).toBeDefined()
    await locks.close()
    await drain()
    expect(election.current()).toBeUndefined()
    expect(election.status().state).toBe('closed')
    await election.close()
    expect(clock.pendingTimers).toBe(0)
  })

  it('is tried again without limit, and health reports why', async () => {
    const { clock, store, election } = scripted()
    for (let n = 0; n < 5; n++)
      store.acquires.push(
        new LockError('locks.store_unavailable', { store: 'scripted', outcome: 'not_done', detail: 'no route' }),
      )
    election.start()
    await clock.advance(150)
    expect(election.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('no route') })
    await clock.advance(1_000)
    expect(election.current()).toBeDefined()
    expect(election.health()).toEqual({ status: 'up' })
  })
})

it('createElection names the option that is wrong', () => {
  const locks = memoryLocks()
  expect(() => createElection({ locks, role: '' })).toThrow('election.role')
  expect(() => createElection({ locks, role: 'r', ttlMs: 5 })).toThrow('election("r").ttlMs')
  expect(() => createElection({ locks, role: 'r', instance: '' })).toThrow('election("r").instance')
  expect(() => createElection({ locks, role: 'r', stopGraceMs: -1 })).toThrow('election("r").stopGraceMs')
  // The locks refuse more than a day: it would be asked for again and again, forever.
  expect(() => createElection({ locks, role: 'r', lockDelayMs: 48 * 3_600_000 })).toThrow('election("r").lockDelayMs')
})

it('createElection accepts only functions as callbacks', () => {
  const locks = memoryLocks()
  const notAFunction = 'work' as never
  expect(() => createElection({ locks, role: 'r', onGranted: notAFunction })).toThrow(
    'election("r").onGranted: expected a function, got a string',
  )
  expect(() => createElection({ locks, role: 'r', onRevoked: notAFunction })).toThrow('election("r").onRevoked')
  const election = createElection({ locks, role: 'r' })
  expect(() => election.whileLeading(notAFunction)).toThrow('election("r").whileLeading')
  expect(() => election.subscribe(notAFunction)).toThrow('election("r").subscribe')
})
