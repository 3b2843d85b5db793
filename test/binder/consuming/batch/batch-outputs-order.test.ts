import { failed, ok, produced, TerminalError } from 'concordat/binder'
import { describe, expect, it } from 'vitest'
import { drain } from '../../../support/locks/fake-clock.ts'
import { gate } from '../../../support/until.ts'
import { deliver, double, doubling, ends, refusing, sent, status } from '../../support/doubling.ts'

describe('no output is sent', () => {
  it('for a message behind a failed one of its key, until the retry was handled', async () => {
    const { opened, open } = gate()
    const test = await doubling(async (items) => {
      if (items[0]?.context.attempt === 2) await opened
      return items.map(({ payload, context: { attempt } }) =>
        payload === 1 && attempt === 1 ? failed(new Error('x')) : produced(payload * 2),
      )
    })
    const deliveries = deliver(test, ['a', 0], ['a', 1], ['a', 2], ['b', 3])
    await test.clock.advance(0)
    expect(sent(test)).toEqual(['0', '6'])
    expect(ends(deliveries)).toEqual(['acked', undefined, undefined, 'acked'])
    open()
    await test.clock.advance(0)
    expect(sent(test)).toEqual(['0', '6', '2', '4'])
    expect(test.calls).toEqual([
      [0, 1, 2, 3],
      [1, 2],
    ])
    expect(status(test)).toMatchObject({ handled: 4, deadLettered: 0 })
  })

  it('for a message behind one with which the binding halts', async () => {
    const test = await doubling(
      (items) => items.map(({ payload }) => (payload === 1 ? failed(new TerminalError('x')) : produced(payload * 2))),
      { onFailure: 'halt' },
    )
    const deliveries = deliver(test, ['a', 0], ['a', 1], ['a', 2], ['b', 3])
    await drain()
    expect(sent(test)).toEqual(['0', '6'])
    expect(ends(deliveries)).toEqual(['acked', 'released', 'released', 'acked'])
  })

  it('for a message behind one whose output is refused, with which the binding halts', async () => {
    const test = await doubling(double, { onFailure: 'halt' })
    test.transport.onPublish = refusing('too_large', '2')
    const deliveries = deliver(test, ['a', 0], ['a', 1], ['a', 2], ['b', 3])
    await drain()
    expect(sent(test).toSorted((a, b) => a.localeCompare(b))).toEqual(['0', '2', '6'])
    expect(ends(deliveries)).toEqual(['acked', 'released', 'released', 'acked'])
  })

  it('for a message behind one that failed because it was withdrawn', async () => {
    const loan = new AbortController()
    const test = await doubling(
      (items) => {
        loan.abort(new Error('moved'))
        return items.map(({ payload }) => (payload === 0 ? failed(new TerminalError('x')) : produced(payload * 2)))
      },
      { batch: { maxSize: 2, maxWaitMs: 10 } },
    )
    const deliveries = [0, 1].map((n) => test.transport.subscription.deliver('a', n, loan))
    await drain()
    expect(ends(deliveries)).toEqual(['released', 'released'])
    expect(test.transport.published).toEqual([])
  })

  it('for a call that threw, or returned wrong outcomes', async () => {
    for (const broken of [() => Promise.reject(new TerminalError('x')), () => [produced(1)]]) {
      const test = await doubling(broken)
      deliver(test, ['a', 0], ['a', 1], [null, 2], [null, 3])
      await drain()
      expect(sent(test)).toEqual([])
      expect(status(test)).toMatchObject({ handled: 0, deadLettered: 4 })
    }
  })
})

it('outputs behind a message that left for a delayed retry are sent at once', async () => {
  const test = await doubling(
    (items) => items.map(({ payload }) => (payload === 1 ? failed(new Error('x')) : produced(payload * 2))),
    { retry: 'delayed' },
  )
  const deliveries = deliver(test, ['a', 0], ['a', 1], ['a', 2], ['a', 3])
  await drain()
  expect(sent(test)).toEqual(['0', '4', '6'])
  expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked', 'acked'])
  expect(status(test)).toMatchObject({ handled: 3, retried: 1 })
})

it('outputs behind a permanently failed message are kept', async () => {
  const test = await doubling((items) =>
    items.map(({ payload }) => (payload === 0 ? failed(new TerminalError('x')) : payload === 1 ? ok : produced(9))),
  )
  deliver(test, ['a', 0], ['a', 1], ['a', 2], ['a', 3])
  await drain()
  expect(sent(test)).toEqual(['9', '9'])
  expect(test.calls).toHaveLength(1)
  expect(status(test)).toMatchObject({ handled: 3, deadLettered: 1 })
})
