import { failed, ok, TerminalError } from 'concordat/binder'
import { describe, expect, it } from 'vitest'
import type { BatchSinkOptions } from '../../../support/inside/binder.ts'
import { drain } from '../../../support/locks/fake-clock.ts'
import { gate } from '../../../support/until.ts'
import { batchSink, deliver, ends, status } from '../../support/batch-sink.ts'
import { messageOn, ScriptedDelivery } from '../../support/scripted-transport.ts'

describe('a batch', () => {
  it('goes at once when it is full, and else when its oldest message has waited long enough', async () => {
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 500 } })
    deliver(test, [null, 0], [null, 1])
    await test.clock.advance(400)
    expect(test.calls).toEqual([])
    deliver(test, [null, 2])
    await drain()
    expect(test.calls).toEqual([['0', '1', '2']])
    deliver(test, [null, 3])
    await test.clock.advance(400)
    deliver(test, [null, 4])
    await test.clock.advance(99)
    expect(test.calls).toHaveLength(1)
    await test.clock.advance(1)
    expect(test.calls[1]).toEqual(['3', '4'])
    expect(status(test)).toMatchObject({ kind: 'batch', handled: 5, queued: 0, running: 0 })
  })

  it('gathers while another is being handled, up to the configured concurrency', async () => {
    const { opened, open } = gate()
    const test = await batchSink({ batch: { maxSize: 2, maxWaitMs: 10 }, concurrency: 2 }, () => opened)
    deliver(test, ...[0, 1, 2, 3, 4, 5].map((n) => [null, n] as const))
    await test.clock.advance(100)
    expect(test.calls).toEqual([
      ['0', '1'],
      ['2', '3'],
    ])
    expect(status(test)).toMatchObject({ running: 2, queued: 2 })
    open()
    await drain()
    expect(test.calls[2]).toEqual(['4', '5'])
  })

  it('has several messages of a key in their order, and a key is in one batch at a time', async () => {
    const first = gate()
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 10 }, concurrency: 4 }, (items) =>
      items[0]?.payload === 0 ? first.opened : undefined,
    )
    deliver(test, ['a', 0], ['b', 1], ['a', 2], ['a', 3], ['c', 4], ['b', 5], ['d', 6], ['e', 7])
    await test.clock.advance(10)
    expect(test.calls).toEqual([
      ['0', '1', '2'],
      ['4', '6', '7'],
    ])
    first.open()
    await test.clock.advance(10)
    expect(test.calls[2]).toEqual(['3', '5'])
  })

  it('never holds an undecodable message, which is dead-lettered by itself', async () => {
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 10 } })
    const deliveries = deliver(test, [null, 0], [null, 'not a number'], [null, 2])
    await drain()
    expect(test.calls).toEqual([['0', '2']])
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked'])
    expect(status(test)).toMatchObject({ handled: 2, deadLettered: 1 })
  })
})

describe('outcomes', () => {
  it('settle each message by itself, and redeliver failed ones alone', async () => {
    const test = await batchSink({ batch: { maxSize: 4, maxWaitMs: 10 } }, (items) =>
      Promise.allSettled(
        items.map(async ({ payload, context }) => {
          if (payload % 2 === 1 && context.attempt < 3) throw new Error('odd')
        }),
      ),
    )
    const deliveries = deliver(test, [null, 0], [null, 1], ['k', 2], ['l', 3])
    await drain()
    expect(ends(deliveries)).toEqual(['acked', undefined, 'acked', undefined])
    await test.clock.advance(0)
    expect(test.calls).toEqual([
      ['0', '1', '2', '3'],
      ['1/2', '3/2'],
      ['1/3', '3/3'],
    ])
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked', 'acked'])
    expect(status(test)).toMatchObject({ handled: 4, deadLettered: 0 })
  })

  it('dead-letter each exhausted or permanently failed message, alone', async () => {
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 10 }, maxAttempts: 2 }, (items) =>
      items.map(({ payload }) => {
        if (payload === 0) return ok
        return failed(payload === 1 ? new TerminalError('wrong') : new Error('away'))
      }),
    )
    deliver(test, [null, 0], [null, 1], [null, 2])
    await test.clock.advance(0)
    expect(test.calls).toEqual([['0', '1', '2'], ['2/2']])
    const letters = test.transport.published.flat()
    expect(letters.map(({ destination, headers }) => [destination, headers['dead-letter-attempts']])).toEqual([
      ['numbers.g.dlq', 1],
      ['numbers.g.dlq', 2],
    ])
    expect(status(test)).toMatchObject({ handled: 1, deadLettered: 2 })
  })

  it('a batch that throws is handed over in halves, and an attempt counts for a message alone', async () => {
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 10 }, maxAttempts: 2 }, () => {
      throw new Error('away')
    })
    deliver(test, [null, 0], ['a', 1], ['a', 2])
    await test.clock.advance(0)
    expect(test.calls).toEqual([['0', '1', '2'], ['0', '1'], ['0'], ['1'], ['0/2'], ['1/2'], ['2'], ['2/2']])
    expect(status(test)).toMatchObject({ deadLettered: 3 })
  })

  it('a half is not called with messages that were taken away while the other half was', async () => {
    const [here, elsewhere] = [new AbortController(), new AbortController()]
    const test = await batchSink({ batch: { maxSize: 4, maxWaitMs: 10 } }, (items) => {
      if (items.length === 4) throw new Error('away')
      elsewhere.abort(new Error('lost'))
    })
    const deliveries = [here, here, elsewhere, here].map(
      (loan, n) => new ScriptedDelivery(messageOn('numbers', null, n), n, loan),
    )
    for (const each of deliveries) test.transport.subscription.receiver.deliver(each)
    await test.clock.advance(0)
    expect(test.calls).toEqual([['0', '1', '2', '3'], ['0', '1'], ['3']])
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'released', 'acked'])
  })

  it('of a message that makes each call throw are one dead letter, and one attempt of each other message', async () => {
    const handled: number[] = []
    const test = await batchSink({ batch: { maxSize: 8, maxWaitMs: 10 }, maxAttempts: 2 }, (items) => {
      if (items.some(({ payload }) => payload === 3)) throw new Error('poison')
      handled.push(...items.map(({ payload, context }) => Number(payload) * context.attempt))
    })
    deliver(test, ...Array.from({ length: 8 }, (_, n) => [null, n] as const))
    await test.clock.advance(0)
    expect(handled.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 4, 5, 6, 7])
    expect(status(test)).toMatchObject({ handled: 7, deadLettered: 1 })
  })

  it('the culprit of a terminal throw is searched in halves at once, without a pause', async () => {
    const test = await batchSink({ batch: { maxSize: 4, maxWaitMs: 10 }, backoff: { initialMs: 60_000 } }, (items) => {
      if (items.some(({ payload }) => payload === 1)) throw new TerminalError('poison')
    })
    deliver(test, [null, 0], [null, 1], [null, 2], [null, 3])
    await drain()
    expect(status(test)).toMatchObject({ handled: 3, deadLettered: 1 })
  })

  it('outcomes that do not fit the messages fail all of them, and the error names the expected form', async () => {
    for (const wrong of [[ok], 'fine', [ok, 1]]) {
      const test = await batchSink({ batch: { maxSize: 2, maxWaitMs: 10 } }, () => wrong as never)
      deliver(test, [null, 0], [null, 1])
      await drain()
      const [letter] = test.transport.published.flat()
      expect(letter?.headers).toMatchObject({ 'dead-letter-error-code': 'binder.batch_outcomes' })
      expect(letter?.headers['dead-letter-error-message']).toContain('for 2 messages: return nothing when all')
      expect(status(test)).toMatchObject({ deadLettered: 2 })
    }
  })
})

describe('order per key', () => {
  it('redelivers only the later messages of the key, behind the failed one', async () => {
    const test = await batchSink({ batch: { maxSize: 5, maxWaitMs: 10 } }, (items) =>
      items.map(({ payload, context }) => (payload === 1 && context.attempt === 1 ? failed(new Error('x')) : ok)),
    )
    const deliveries = deliver(test, ['a', 0], ['a', 1], ['a', 2], ['b', 3], [null, 4])
    await drain()
    expect(ends(deliveries)).toEqual(['acked', undefined, undefined, 'acked', 'acked'])
    await test.clock.advance(0)
    expect(test.calls).toEqual([
      ['0', '1', '2', '3', '4'],
      ['1/2', '2'],
    ])
  })

  it('a message is not settled before an earlier failed one of its key when the batch is handed over in halves', async () => {
    let seen: unknown[] = []
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 10 } }, (items) => {
      if (items.length === 3) throw new Error('as a whole')
      if (items[0]?.payload === 2) seen = ends(deliveries)
      return items.map(({ payload, context }) => (payload === 0 && context.attempt === 1 ? failed(new Error('x')) : ok))
    })
    const deliveries = deliver(test, ['a', 0], ['a', 1], [null, 2])
    await test.clock.advance(0)
    expect(seen).toEqual([undefined, undefined, undefined])
    expect(test.calls.slice(0, 3)).toEqual([['0', '1', '2'], ['0', '1'], ['2']])
    await test.clock.advance(0)
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked'])
  })

  it('keeps the outcome of a message behind a permanently failed one', async () => {
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 10 } }, (items) =>
      items.map(({ payload }) => (payload === 0 ? failed(new TerminalError('x')) : ok)),
    )
    deliver(test, ['a', 0], ['a', 1], ['a', 2])
    await test.clock.advance(0)
    expect(test.calls).toHaveLength(1)
    expect(status(test)).toMatchObject({ deadLettered: 1, handled: 2 })
  })

  it('with halt, lets no message of the key pass the failed one', async () => {
    const test = await batchSink({ batch: { maxSize: 3, maxWaitMs: 10 }, onFailure: 'halt', maxAttempts: 1 }, (items) =>
      items.map(({ payload }) => (payload === 0 ? failed(new Error('x')) : ok)),
    )
    const deliveries = deliver(test, ['a', 0], ['a', 1], ['b', 2])
    await drain()
    expect(ends(deliveries)).toEqual(['released', 'released', 'acked'])
    expect(status(test).state).toBe('halted')
  })
})

describe('withdrawn messages of a batch', () => {
  it('are redelivered: recall and stop return waiting ones, and settle a running batch', async () => {
    const { opened, open } = gate()
    const test = await batchSink({ batch: { maxSize: 2, maxWaitMs: 10 } }, () => opened)
    const deliveries = deliver(test, [null, 0], [null, 1], [null, 2])
    test.transport.subscription.receiver.recall()
    expect(ends(deliveries)).toEqual([undefined, undefined, 'released'])
    const [last] = deliver(test, [null, 3])
    const stopped = test.binder.binding('numbers.g').stop()
    expect(last?.end).toBe('released')
    open()
    await stopped
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'released'])
  })

  it('are left out of the next call, and the batch signal aborts when none is left', async () => {
    const loans = [new AbortController(), new AbortController()]
    const signals: AbortSignal[] = []
    const test = await batchSink({ batch: { maxSize: 2, maxWaitMs: 10 } }, (_, { signal }) => {
      signals.push(signal)
      throw new Error('away')
    })
    const deliveries = loans.map((loan, n) => test.transport.subscription.deliver(null, n, loan))
    await drain()
    loans[0]?.abort(new Error('moved'))
    await test.clock.advance(0)
    expect(test.calls).toEqual([['0', '1'], ['1'], ['1/2'], ['1/3']])
    expect(ends(deliveries)).toEqual(['released', 'acked'])
    expect(signals[0]?.aborted).toBe(false)
    expect(test.transport.published.flat()).toHaveLength(1)
  })

  it('end the wait for the next attempt when the binding stops', async () => {
    const test = await batchSink({ batch: { maxSize: 2, maxWaitMs: 10 }, backoff: { initialMs: 1_000 } }, () => {
      throw new Error('away')
    })
    const deliveries = deliver(test, ['a', 0], ['a', 1])
    await drain()
    await test.binder.binding('numbers.g').stop()
    expect(ends(deliveries)).toEqual(['released', 'released'])
    expect(test.transport.published).toEqual([])
  })
})

it('a batch asks for room for two batches per call, at least', async () => {
  const prefetch = async (options: Partial<BatchSinkOptions>): Promise<number> =>
    (await batchSink(options)).transport.subscription.spec.prefetch
  expect(await prefetch({})).toBe(200)
  expect(await prefetch({ batch: { maxSize: 500 }, concurrency: 2 })).toBe(2_000)
  expect(await prefetch({ batch: { maxSize: 500 }, prefetch: 500 })).toBe(500)
})
