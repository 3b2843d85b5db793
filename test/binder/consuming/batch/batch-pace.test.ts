import { failed, ok } from 'concordat/binder'
import { describe, expect, it } from 'vitest'
import { drain } from '../../../support/locks/fake-clock.ts'
import { type BatchSetup, batchSink, deliver, status } from '../../support/batch-sink.ts'

describe('a batch with a rate limit or a circuit breaker', () => {
  it('a batch is as large as the bucket allows, and waits to be full', async () => {
    const test = await batchSink({ batch: { maxSize: 10, maxWaitMs: 10 }, rateLimit: { perSecond: 10, burst: 4 } })
    deliver(test, ...Array.from({ length: 10 }, (_, n) => [null, n] as const))
    await drain()
    expect(test.calls).toEqual([['0', '1', '2', '3']])
    await test.clock.advance(399)
    expect(test.calls).toHaveLength(1)
    await test.clock.advance(1)
    expect(test.calls[1]).toEqual(['4', '5', '6', '7'])
  })

  it('the trial of a batch is one message, and the rest follows when it worked', async () => {
    let isDown = true
    const test = await batchSink(
      { batch: { maxSize: 3, maxWaitMs: 10 }, circuitBreaker: { failures: 1, pauseMs: 1_000 } },
      () => {
        if (isDown) throw new Error('down')
      },
    )
    deliver(test, ['a', 0], ['a', 1], ['a', 2])
    await test.clock.advance(0)
    expect(status(test)).toMatchObject({ state: 'paused', circuit: 'open' })
    isDown = false
    await test.clock.advance(1_000)
    expect(test.calls).toEqual([['0', '1', '2'], ['0'], ['1', '2']])
    expect(status(test)).toMatchObject({ state: 'running', circuit: 'closed', handled: 3 })
  })

  it('a failed trial of a batch is no attempt, and the keys take turns', async () => {
    let isDown = true
    const test = await batchSink(
      { batch: { maxSize: 3, maxWaitMs: 10 }, maxAttempts: 2, circuitBreaker: { failures: 1, pauseMs: 1_000 } },
      () => {
        if (isDown) throw new Error('down')
      },
    )
    deliver(test, ['a', 0], ['a', 1], ['b', 2])
    await test.clock.advance(0)
    for (let trial = 0; trial < 3; trial++) await test.clock.advance(1_000)
    isDown = false
    await test.clock.advance(1_000)
    expect(test.calls).toEqual([['0', '1', '2'], ['0'], ['2'], ['0'], ['2'], ['0', '1']])
    expect(status(test)).toMatchObject({ circuit: 'closed', handled: 3, deadLettered: 0 })
  })

  it('a message of a batch that always fails ends when another was handled, or its free trials are over', async () => {
    const always = async (count: number) => {
      const test: BatchSetup = await batchSink(
        {
          batch: { maxSize: count, maxWaitMs: 10 },
          maxAttempts: 2,
          circuitBreaker: { failures: 1, pauseMs: 1_000, freeTrials: 2 },
        },
        (items) => {
          if (test.calls.length === 1 || items.some(({ payload }) => payload === 0)) throw new Error('no')
        },
      )
      deliver(test, ...Array.from({ length: count }, (_, n) => [null, n] as const))
      await test.clock.advance(0)
      for (let trial = 0; trial < 10; trial++) await test.clock.advance(1_000)
      return { calls: test.calls, ...status(test) }
    }
    expect(await always(2)).toMatchObject({
      calls: [['0', '1'], ['0'], ['1'], ['0'], ['0/2'], ['0/2'], ['0/2']],
      handled: 1,
      deadLettered: 1,
    })
    expect(await always(1)).toMatchObject({ calls: [['0'], ['0/2'], ['0/2'], ['0/2']], deadLettered: 1 })
  })

  it('a call in which some messages were handled is no failure', async () => {
    const test = await batchSink(
      { batch: { maxSize: 2, maxWaitMs: 10 }, maxAttempts: 1, circuitBreaker: { failures: 1, pauseMs: 1_000 } },
      () => [ok, failed(new Error('x'))],
    )
    deliver(test, [null, 0], [null, 1])
    await drain()
    expect(status(test)).toMatchObject({ circuit: 'closed', handled: 1, deadLettered: 1 })
  })
})
