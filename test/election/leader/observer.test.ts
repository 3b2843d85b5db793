import { createElection, createObserver, type Observer } from 'concordat/election'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { afterEach, describe, expect, it } from 'vitest'
import type { LeaderChange, ObserverOptions } from '../../support/inside/election.ts'
import type { LockInfo } from '../../support/inside/locks.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'

const open: Observer[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((observer) => observer.close()))
})

function watching(options: Partial<ObserverOptions> & Pick<ObserverOptions, 'locks'>) {
  const observer = createObserver({ role: 'r', ...options })
  open.push(observer)
  const changes: string[] = []
  observer.subscribe(({ type, leader, term }) => changes.push(`${type} ${leader ?? '-'} ${term ?? '-'}`))
  return { observer, changes }
}

/** Real elections on one store and one clock. */
function setup() {
  const clock = new FakeClock()
  const server = memoryLockServer({ clock })
  const candidate = (instance: string) => {
    const election = createElection({ locks: memoryLocks({ server, clock }), role: 'r', instance, clock })
    election.start()
    return election
  }
  return { clock, locks: memoryLocks({ server, clock }), candidate }
}

/** Store with scripted answers that counts its calls. */
function told() {
  const clock = new FakeClock()
  const state = {
    asked: 0,
    answer: undefined as { owner: string; token: number; expiresInMs?: number } | Error | undefined,
  }
  const inspect = async (key: string): Promise<LockInfo | undefined> => {
    state.asked++
    if (state.answer instanceof Error) throw state.answer
    if (state.answer === undefined) return undefined
    const { owner, token, expiresInMs = 10_000 } = state.answer
    const holder = { owner, token, mode: 'exclusive' as const, sinceAt: 0, expiresInMs, freesInMs: expiresInMs }
    return { key, holders: [holder], waiters: [] }
  }
  return { clock, state, locks: { inspect } }
}

describe('an observer', () => {
  it('sees the leader, a time without a leader, and the next one, with rising terms', async () => {
    const { clock, locks, candidate } = setup()
    const { observer, changes } = watching({ locks, clock })
    expect(observer.current()).toBeUndefined()
    expect(observer.health()).toEqual({ status: 'idle' })
    observer.start()
    observer.start()
    await clock.advance(1)
    const a = candidate('a')
    await clock.advance(1_000)
    const first = a.current()?.term
    expect(observer.current()).toEqual({ leader: 'a', term: first })
    await a.close()
    await clock.advance(1_000)
    expect(observer.current()).toEqual({ leader: undefined, term: first })
    const b = candidate('b')
    await clock.advance(1_000)
    const second = b.current()?.term
    expect(changes).toEqual(['vacant - -', `elected a ${first}`, `vacant - ${first}`, `elected b ${second}`])
    await clock.advance(60_000)
    expect(changes).toHaveLength(4)
    expect(observer.health()).toEqual({ status: 'up' })
    await b.close()
  })

  it('reads the store once per pollMs, with any results, and not at all before start and after close', async () => {
    const { clock, state, locks } = told()
    const { observer } = watching({ locks, clock, pollMs: 500 })
    await clock.advance(5_000)
    expect(state.asked).toBe(0)
    observer.start()
    await clock.advance(5_000)
    expect(state.asked).toBe(11)
    state.answer = new Error('away')
    await clock.advance(5_000)
    expect(state.asked).toBe(21)
    await observer.close()
    await clock.advance(5_000)
    expect(state.asked).toBe(21)
    expect(clock.pendingTimers).toBe(0)
    expect(observer.health()).toEqual({ status: 'closed' })
  })

  it('drops an older term, and reports in health that the store went back', async () => {
    const { clock, state, locks } = told()
    const { observer, changes } = watching({ locks, clock })
    state.answer = { owner: 'b', token: 7 }
    observer.start()
    await clock.advance(1)
    state.answer = { owner: 'a', token: 6 }
    await clock.advance(2_000)
    expect(changes).toEqual(['elected b 7'])
    expect(observer.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('term 6') })
    await clock.advance(10_000)
    expect(changes).toEqual(['elected b 7', 'unknown - 7'])
    state.answer = { owner: 'c', token: 8 }
    await clock.advance(1_000)
    expect(changes).toEqual(['elected b 7', 'unknown - 7', 'elected c 8'])
    expect(observer.health()).toEqual({ status: 'up' })
  })

  it('believes in a leader through an outage until its observed lease is over, then knows nothing', async () => {
    const { clock, state, locks } = told()
    const { observer, changes } = watching({ locks, clock })
    state.answer = { owner: 'a', token: 7, expiresInMs: 4_500 }
    observer.start()
    await clock.advance(1)
    state.answer = new Error('no route')
    await clock.advance(4_000)
    expect(observer.current()).toEqual({ leader: 'a', term: 7 })
    expect(observer.health()).toEqual({ status: 'down', detail: 'no route' })
    await clock.advance(600)
    expect(observer.current()).toBeUndefined()
    await clock.advance(1_000)
    expect(changes).toEqual(['elected a 7', 'unknown - 7'])
    state.answer = { owner: 'a', token: 7 }
    await clock.advance(1_000)
    expect(changes).toEqual(['elected a 7', 'unknown - 7', 'elected a 7'])
  })

  it('takes a key that only a lock delay keeps for a vacancy', async () => {
    const { clock, state, locks } = told()
    const { observer, changes } = watching({ locks, clock })
    state.answer = { owner: 'a', token: 7, expiresInMs: 0 }
    observer.start()
    await clock.advance(1)
    expect(changes).toEqual(['vacant - -'])
  })

  it('continues when a listener throws, and notifies the others', async () => {
    const { clock, state, locks } = told()
    const observer = createObserver({ locks, role: 'r', clock })
    open.push(observer)
    const seen: LeaderChange[] = []
    observer.subscribe(() => {
      throw new Error('no')
    })
    const stop = observer.subscribe((change) => seen.push(change))
    observer.start()
    await clock.advance(1)
    state.answer = { owner: 'a', token: 7 }
    await clock.advance(1_000)
    expect(seen.map(({ type }) => type)).toEqual(['vacant', 'elected'])
    stop()
    state.answer = undefined
    await clock.advance(1_000)
    expect(seen).toHaveLength(2)
  })

  it('closes with its signal, also while the store does not answer', async () => {
    const clock = new FakeClock()
    const over = new AbortController()
    const { observer } = watching({ locks: { inspect: () => new Promise(() => {}) }, clock, signal: over.signal })
    observer.start()
    await drain()
    over.abort()
    await observer.close()
    expect(observer.health()).toEqual({ status: 'closed' })
    expect(clock.pendingTimers).toBe(0)
    const late = createObserver({ locks: told().locks, role: 'r', signal: over.signal })
    expect(() => late.start()).toThrow(expect.objectContaining({ code: 'election.closed' }))
    expect(late.health()).toEqual({ status: 'closed' })
  })
})

describe('iterating an observer', () => {
  it('starts it, yields the known state and each change, and ends when it closes', async () => {
    const { clock, state, locks } = told()
    const { observer } = watching({ locks, clock })
    const seen: Array<string | undefined> = []
    const reading = (async () => {
      for await (const change of observer) seen.push(change.leader ?? change.type)
    })()
    await clock.advance(1)
    state.answer = { owner: 'a', token: 7 }
    await clock.advance(1_000)
    state.answer = { owner: 'b', token: 8 }
    await clock.advance(1_000)
    await observer.close()
    await reading
    expect(seen).toEqual(['vacant', 'a', 'b'])
  })

  it('gives a slow reader the newest change, not all of them', async () => {
    const { clock, state, locks } = told()
    const { observer } = watching({ locks, clock })
    observer.start()
    await clock.advance(1)
    const changes = observer[Symbol.asyncIterator]()
    expect((await changes.next()).value).toMatchObject({ type: 'vacant' })
    for (const token of [7, 8, 9]) {
      state.answer = { owner: 'a', token }
      await clock.advance(1_000)
    }
    expect((await changes.next()).value).toMatchObject({ term: 9 })
    await observer.close()
    expect((await changes.next()).done).toBe(true)
  })
})

it('createObserver names the option that is wrong', () => {
  const { locks } = told()
  const js = (value: unknown): never => value as never
  expect(() => createObserver(js({ locks, rol: 'r' }))).toThrow('Did you mean "role"?')
  expect(() => createObserver(js({ role: 'r' }))).toThrow('createObserver.locks: expected locks')
  expect(() => createObserver({ locks, role: '' })).toThrow('createObserver.role')
  expect(() => createObserver({ locks, role: 'r', pollMs: 1 })).toThrow('observer("r").pollMs')
})
