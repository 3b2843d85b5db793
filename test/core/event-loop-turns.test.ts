// oxlint-disable no-restricted-imports -- tests what users do not import
import { describe, expect, it } from 'vitest'
import { systemClock, virtualTimeIn } from '../../core/clock.ts'
import { EventLoopTurns, LONGEST_RUN_MS } from '../../core/event-loop-turns.ts'
import { FakeClock } from '../support/locks/fake-clock.ts'

function busy(durationMs: number): void {
  const until = performance.now() + durationMs
  while (performance.now() < until);
}

describe('Turns', () => {
  it('is due once callbacks have run for the longest run without a turn', () => {
    const turns = new EventLoopTurns(systemClock)
    expect(turns.isDue()).toBe(false)
    busy(LONGEST_RUN_MS + 1)
    expect(turns.isDue()).toBe(true)
  })

  it('gives the last reading during a run, and the present time after a turn', async () => {
    const clock = new FakeClock()
    const turns = new EventLoopTurns(clock)
    turns.isDue()
    const beganAt = clock.now()
    clock.stall(5_000)
    expect(turns.wallTime).toBe(beganAt)
    turns.look()
    expect(turns.wallTime).toBe(beganAt + 5_000)
    clock.stall(1_000)
    await new Promise((resolve) => setImmediate(resolve))
    expect(turns.wallTime).toBe(beganAt + 6_000)
  })

  it('is not due after the event loop has turned', async () => {
    const turns = new EventLoopTurns(systemClock)
    turns.isDue()
    busy(LONGEST_RUN_MS + 1)
    await turns.next()
    expect(turns.isDue()).toBe(false)
  })

  it('lets a timer fire between two waiting loops, in the order in which they waited', async () => {
    const turns = new EventLoopTurns(systemClock)
    const order: string[] = []
    const loop = async (name: string): Promise<void> => {
      await turns.next()
      order.push(name)
      busy(LONGEST_RUN_MS)
    }
    setTimeout(() => order.push('timer'), 1)
    await Promise.all([loop('a'), loop('b')])
    expect(order.filter((name) => name !== 'timer')).toEqual(['a', 'b'])
    // On a slow machine the timer is due before the first loop.
    expect(order.slice(0, 2)).toContain('timer')
  })

  it('resumes one loop per turn, for any number of checks before it waits', async () => {
    const turns = new EventLoopTurns(systemClock)
    let inThisTurn = 0
    let most = 0
    const timer = setInterval(() => (inThisTurn = 0), 1)
    for (let n = 0; n < 20; n++) {
      while (!turns.isDue()) busy(LONGEST_RUN_MS)
      most = Math.max(most, ++inThisTurn)
      await turns.next()
    }
    clearInterval(timer)
    expect(most).toBeLessThanOrEqual(2)
  })

  it('is never due for code on virtual time, and due again afterwards', () => {
    const turns = new EventLoopTurns(systemClock)
    turns.isDue()
    busy(LONGEST_RUN_MS + 1)
    const undo = virtualTimeIn(() => true)
    expect(turns.isDue()).toBe(false)
    undo()
    expect(turns.isDue()).toBe(true)
  })

  it('is never due on a clock that does not move', () => {
    const turns = new EventLoopTurns(new FakeClock())
    turns.isDue()
    busy(LONGEST_RUN_MS + 1)
    expect(turns.isDue()).toBe(false)
  })
})
