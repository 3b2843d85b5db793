import { systemClock } from 'concordat/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { resolveBackoff } from '../../../support/inside/core.ts'
import { FakeClock } from '../../kafka/fake-clock.ts'
import { ended, failureOf, keepTrying, PrefetchWindow, SettledPositions, within } from './inside.ts'

describe('a window', () => {
  it('is open for one message of any size, and else while both limits hold', () => {
    const window = new PrefetchWindow({ prefetch: 2, prefetchBytes: 10 })
    window.take(50)
    expect(window.isOpen).toBe(false)
    window.free(50)
    window.take(9)
    expect(window.isOpen).toBe(true)
    window.take(0)
    expect([window.isOpen, window.count, window.bytes]).toEqual([false, 2, 9])
    window.free(9, 2)
    expect([window.isOpen, window.count, window.bytes]).toEqual([true, 0, 0])
  })
})

describe('progress', () => {
  it('never passes an unsettled message, with any order of the others', () => {
    const order = fc.shuffledSubarray(Array.from({ length: 40 }, (_, i) => 5 + i))
    fc.assert(
      fc.property(order, (positions) => {
        const progress = new SettledPositions(5)
        const settled = new Set<number>()
        for (const position of positions) {
          const before = progress.settled
          settled.add(position)
          expect(progress.settle(position)).toBe(progress.settled > before)
          let lowest = 5
          while (settled.has(lowest)) lowest++
          expect(progress.settled).toBe(lowest)
          expect([...progress.done].sort((a, b) => a - b)).toEqual(
            [...settled].filter((each) => each > lowest).sort((a, b) => a - b),
          )
        }
        for (let position = 0; position < 50; position++)
          expect(progress.has(position)).toBe(position < 5 || settled.has(position))
      }),
    )
  })

  it('continues from the stored position', () => {
    const progress = new SettledPositions(3, [4, 5])
    expect(progress.settle(3)).toBe(true)
    expect([progress.settled, [...progress.done]]).toEqual([6, []])
  })
})

describe('a deadline', () => {
  it('resolves with the result of the work, or rejects with its own error after the time', async () => {
    const clock = new FakeClock()
    await expect(within(clock, 10, Promise.resolve('done'), () => new Error('late'))).resolves.toBe('done')
    await expect(within(clock, 10, Promise.reject(new Error('failed')), () => new Error('late'))).rejects.toThrow(
      'failed',
    )
    const { promise, reject } = Promise.withResolvers<never>()
    const waiting = within(clock, 10, promise, () => new Error('late'))
    clock.advance(10)
    await expect(waiting).rejects.toThrow('late')
    reject(new Error('nobody listens any more'))
  })

  it('ends a close that fails, and one that hangs', async () => {
    const clock = new FakeClock()
    await ended(clock, 10, Promise.reject(new Error('failed')))
    const hanging = ended(clock, 10, new Promise(() => {}))
    clock.advance(10)
    await hanging
    expect(clock.timers).toEqual([])
  })
})

describe('trying', () => {
  const backoff = resolveBackoff('test', { initialMs: 1, maxMs: 2 })
  const trying = (signal: AbortSignal, failed?: number) => ({ clock: systemClock, backoff, signal, failed })

  it('continues until it works, and reports each failure', async () => {
    const failures: unknown[] = []
    let calls = 0
    const work = async (): Promise<boolean> => {
      if (++calls < 3) throw new Error(`away ${calls}`)
      return true
    }
    await keepTrying(trying(new AbortController().signal), work, (error) => failures.push((error as Error).message))
    expect([calls, failures]).toEqual([3, ['away 1', 'away 2']])
  })

  it('begins anew after a success that has ended, until it is stopped', async () => {
    const stop = new AbortController()
    let calls = 0
    await keepTrying(trying(stop.signal, 1), async () => {
      if (++calls === 3) stop.abort()
      return false
    })
    expect(calls).toBe(3)
  })

  it('does nothing once it is stopped', async () => {
    await keepTrying(trying(AbortSignal.abort(), 1), () => expect.unreachable('it was stopped'))
  })
})

it('errors name their transport, and no missing destination or cause', () => {
  const error = failureOf('nats')('refused', 'not today', { destination: 'orders' })
  expect(error).toMatchObject({ code: 'binder.transport', transport: 'nats', kind: 'refused', destination: 'orders' })
  expect('cause' in error).toBe(false)
})
