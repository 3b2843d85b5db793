import { describe, it } from 'vitest'
import { FakeClock } from '../fake-clock.ts'
import { Commits, SessionTimeout } from '../inside.ts'

const TIMES = { sessionTimeoutMs: 10_000, heartbeatIntervalMs: 1_000, joinTimeoutMs: 35_000 }

describe('membership', () => {
  it('is in doubt when the group is not joined in time', ({ expect }) => {
    const clock = new FakeClock()
    const membership = new SessionTimeout(clock, TIMES)
    membership.joining()
    clock.advance(35_000)
    expect(membership.doubt()).toBeUndefined()
    clock.advance(1)
    expect(membership.doubt()).toBe('the group was not joined for 35001 ms')
  })

  it('stands while heartbeats are answered and is in doubt a session timeout after the last', ({ expect }) => {
    const clock = new FakeClock()
    const membership = new SessionTimeout(clock, TIMES)
    membership.joined()
    for (let i = 0; i < 20; i++) {
      clock.advance(9_000)
      membership.confirmed()
    }
    clock.advance(10_000)
    expect(membership.doubt()).toBeUndefined()
    clock.advance(1)
    expect(membership.doubt()).toBe('no heartbeat was answered for 10001 ms')
  })

  it('treats an early forgotten member as lost only while it gives up partitions', ({ expect }) => {
    const clock = new FakeClock()
    const membership = new SessionTimeout(clock, TIMES)
    membership.joined()
    clock.advance(3_001)
    expect(membership.isForgotten()).toBe(false)
    membership.leaving()
    expect(membership.isForgotten()).toBe(true)
    membership.confirmed()
    expect(membership.isForgotten()).toBe(false)
  })

  it('counts from the request for its share: an answer that waited in the socket is not certain before a heartbeat is answered', ({
    expect,
  }) => {
    const clock = new FakeClock()
    const membership = new SessionTimeout(clock, TIMES)
    const asked = membership.now()
    clock.advance(9_500)
    membership.joined(asked)
    expect(membership.isCertain()).toBe(false)
    const sent = membership.now()
    clock.advance(100)
    membership.confirmed(sent)
    expect(membership.isCertain()).toBe(true)
    membership.confirmed(asked)
    clock.advance(1)
    expect(membership.isCertain()).toBe(true)
  })

  it('takes no answer that comes after its session', ({ expect }) => {
    const clock = new FakeClock()
    const membership = new SessionTimeout(clock, TIMES)
    membership.joined()
    clock.advance(10_001)
    membership.confirmed()
    expect(membership.doubt()).toBe('no heartbeat was answered for 10001 ms')
    expect(membership.isCertain()).toBe(false)
  })
})

describe('commits', () => {
  function setup(answer: () => Promise<void> = () => Promise.resolve()) {
    const clock = new FakeClock()
    const written: unknown[] = []
    const silent = { debug() {}, info() {}, warn() {}, error() {} }
    const told: Array<string | undefined> = []
    const committed: unknown[] = []
    const commits = new Commits({
      topic: 't',
      clock,
      intervalMs: 200,
      logger: silent,
      onCommitted: (positions) => committed.push(...positions),
      onRefused: (error) => told.push(error?.message),
    })
    commits.use((positions) => {
      written.push(...positions)
      return answer()
    })
    return { clock, commits, written, told, committed }
  }

  it('gather positions over the interval and write the newest of each partition', async ({ expect }) => {
    const { clock, commits, written } = setup()
    commits.mark(0, 5)
    commits.mark(1, 7)
    commits.mark(0, 9)
    clock.advance(199)
    expect(written).toEqual([])
    clock.advance(1)
    await commits.flush()
    expect(written).toEqual([
      [0, 9],
      [1, 7],
    ])
  })

  it('are written at once by a flush, and again after a failure', async ({ expect }) => {
    let fails = true
    const { commits, written } = setup(() => (fails ? Promise.reject(new Error('away')) : Promise.resolve()))
    commits.mark(0, 5)
    await expect(commits.flush()).rejects.toThrow('away')
    fails = false
    await commits.flush()
    expect(written).toEqual([
      [0, 5],
      [0, 5],
    ])
  })

  it('are reported once when all of 10 s were refused, and when one succeeds again', async ({ expect }) => {
    let fails = true
    const { clock, commits, told } = setup(() => (fails ? Promise.reject(new Error('away')) : Promise.resolve()))
    for (let second = 0; second <= 12; second++) {
      commits.mark(0, second)
      await expect(commits.flush()).rejects.toThrow('away')
      expect(told).toEqual(second < 10 ? [] : ['away'])
      clock.advance(1_000)
    }
    fails = false
    await commits.flush()
    await commits.flush()
    expect(told).toEqual(['away', undefined])
  })

  it('are written without waiting for the interval when they are due, unless the broker refuses them', async ({
    expect,
  }) => {
    let fails = false
    const { commits, written } = setup(() => (fails ? Promise.reject(new Error('away')) : Promise.resolve()))
    commits.mark(0, 5, true)
    expect(written).toEqual([[0, 5]])
    fails = true
    commits.mark(0, 6)
    await expect(commits.flush()).rejects.toThrow('away')
    commits.mark(0, 7, true)
    expect(written).toHaveLength(2)
  })

  it('offsets of a failed commit do not come back into the next generation', async ({ expect }) => {
    const answer = Promise.withResolvers<void>()
    const { commits, written } = setup(() => answer.promise)
    commits.mark(0, 5)
    const flushing = commits.flush()
    commits.reset()
    answer.reject(new Error('away'))
    await expect(flushing).rejects.toThrow('away')
    await commits.flush()
    expect(written).toHaveLength(1)
  })

  it('a commit that succeeds after a reset says nothing of the next generation', async ({ expect }) => {
    const answer = Promise.withResolvers<void>()
    const { commits, committed } = setup(() => answer.promise)
    commits.mark(0, 5)
    const flushing = commits.flush()
    commits.reset()
    answer.resolve()
    await flushing
    expect(committed).toEqual([])
  })

  it('a failed commit does not take back a position that moved meanwhile', async ({ expect }) => {
    const first = Promise.withResolvers<void>()
    let answer = first.promise
    const { commits, written, committed } = setup(() => answer)
    commits.mark(0, 5)
    const flushing = commits.flush()
    commits.mark(0, 9)
    first.reject(new Error('away'))
    await expect(flushing).rejects.toThrow('away')
    answer = Promise.resolve()
    await commits.flush()
    expect([written.at(-1), committed]).toEqual([[0, 9], [[0, 9]]])
  })
})
