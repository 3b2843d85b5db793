import {
  createBinder,
  defineChannel,
  processor,
  processorBatch,
  produced,
  several,
  TransportError,
  to,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { gate, until } from '../../../support/until.ts'
import {
  deliver,
  double,
  doubled,
  doubling,
  ends,
  letters,
  numbers,
  refusing,
  sent,
  status,
} from '../../support/doubling.ts'
import { keeper, running } from '../../support/run.ts'
import { ScriptedTransport } from '../../support/scripted-transport.ts'

const words = defineChannel('words', { payload: z.string(), groups: ['keeper'] })

describe('outputs of a batch', () => {
  it('follow the outcome of each message: one, several, addressed, none', async () => {
    const even = keeper(doubled)
    const said = keeper(words)
    const binding = processorBatch(numbers, doubled, { group: 'g', batch: { maxSize: 4, maxWaitMs: 50 } }, (items) =>
      Promise.allSettled(
        items.map(async ({ payload }) => {
          if (payload === 0) return undefined
          if (payload === 1) return several([2, to(words, 'one', { headers: { loud: true } })])
          return payload * 2
        }),
      ),
    )
    const binder = await running({ bindings: [binding, even.binding, said.binding] })
    await binder.sendBatch(numbers, [0, 1, 2])
    await until('all came', () => even.got.length === 2 && said.got.length === 1)
    expect(even.got.map(({ payload }) => payload).toSorted((a, b) => a - b)).toEqual([2, 4])
    expect(said.got).toMatchObject([{ payload: 'one', headers: { loud: true } }])
    await until('all were settled', () => binder.binding('numbers.g').status().handled === 3)
    expect(binder.describe().bindings).toMatchObject([{ kind: 'batch', input: 'numbers', output: 'doubled' }, {}, {}])
  })

  it('are empty when the handler returns nothing', async () => {
    const test = await doubling(() => {})
    const deliveries = deliver(test, [null, 0], [null, 1], [null, 2], [null, 3])
    await drain()
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked', 'acked'])
    expect(test.transport.published).toEqual([])
  })

  it('are confirmed before their messages are settled', async () => {
    const { opened, open } = gate()
    const test = await doubling(double)
    test.transport.onPublish = async (messages) => {
      await opened
      return messages.map(() => undefined)
    }
    const deliveries = deliver(test, [null, 0], ['a', 1], ['a', 2], ['b', 3])
    await drain()
    expect(sent(test)).toEqual(['0', '2', '4', '6'])
    expect(ends(deliveries)).toEqual([undefined, undefined, undefined, undefined])
    open()
    await drain()
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked', 'acked'])
  })

  it('are sent again with their ids until the broker accepts them, after any outage', async () => {
    const test = await doubling(double)
    test.transport.onPublish = refusing('unavailable', '2')
    const deliveries = deliver(test, [null, 0], [null, 1], [null, 2], [null, 3])
    await drain()
    expect(ends(deliveries)).toEqual([undefined, undefined, undefined, undefined])
    test.transport.onPublish = async (messages) => messages.map(() => undefined)
    await test.clock.advance(10_000)
    expect(sent(test)).toEqual(['0', '2', '4', '6', '2'])
    const ids = test.transport.published.flat().map(({ id }) => id)
    expect(ids[4]).toBe(ids[1])
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked', 'acked'])
    expect(test.calls).toHaveLength(1)
  })

  it('are sent again in the order of their key, as one', async () => {
    const test = await doubling(double, { batch: { maxSize: 10, maxWaitMs: 10 } })
    test.transport.onPublish = async (messages) =>
      messages.map(() => new TransportError({ transport: 'scripted', kind: 'unavailable', message: 'away' }))
    deliver(test, ...Array.from({ length: 10 }, (_, n) => ['a', n] as const))
    await drain()
    test.transport.onPublish = async (messages) => messages.map(() => undefined)
    // Each pause is of a random length, so messages with a pause of their own would be in any order.
    for (let ms = 0; ms < 100; ms++) await test.clock.advance(1)
    const order = Array.from({ length: 10 }, (_, n) => `${n * 2}`)
    expect(sent(test)).toEqual([...order, ...order])
    expect(test.transport.published).toHaveLength(2)
  })

  it('have a processor’s ids, in any batch', async () => {
    const ids = async (
      binding: ReturnType<typeof processorBatch> | ReturnType<typeof processor>,
    ): Promise<string[]> => {
      const { got, binding: keeping } = keeper(doubled)
      const binder = await running({ transport: memoryTransport(), bindings: [binding, keeping] })
      for (const id of ['m-1', 'm-2', 'm-1']) await binder.send(numbers, 1, { id })
      await until('all came', () => got.length === 6)
      return [...new Set(got.map(({ id }) => id))].toSorted((a, b) => a.localeCompare(b))
    }
    const one = processor(numbers, doubled, { group: 'g' }, (n) => several([n, n + 1]))
    const batch = (maxSize: number) =>
      processorBatch(numbers, doubled, { group: 'g', batch: { maxSize, maxWaitMs: 20 } }, (items) =>
        items.map(({ payload: n }) => produced(several([n, n + 1]))),
      )
    const expected = await ids(one)
    expect(expected).toHaveLength(4)
    expect(await ids(batch(1))).toEqual(expected)
    expect(await ids(batch(3))).toEqual(expected)
  })

  it('come from around the handler with its headers', async () => {
    const clock = new FakeClock()
    const transport = new ScriptedTransport()
    const options = { group: 'g', batch: { maxSize: 1, maxWaitMs: 10 } }
    const bindings = [processorBatch(numbers, doubled, options, double)]
    const headers = () => ({ lease: 'l-1' })
    const binder = createBinder({ service: 'test', transport, clock, bindings, headers })
    onTestFinished(() => binder.close())
    await binder.start()
    transport.subscription.deliver(null, 1)
    await drain()
    expect(transport.published.flat()).toMatchObject([{ destination: 'doubled', headers: { lease: 'l-1' } }])
  })
})

describe('a message of a batch fails alone', () => {
  it('when its output does not fit its channel', async () => {
    const test = await doubling((items) =>
      items.map(({ payload }) => produced(payload === 1 ? ('wrong' as never) : payload)),
    )
    const deliveries = deliver(test, ['a', 0], ['a', 1], ['a', 2], [null, 3])
    await drain()
    expect(sent(test)).toEqual(['0', '2', '3'])
    expect(letters(test)).toEqual([['1', 'core.schema']])
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked', 'acked'])
    expect(status(test)).toMatchObject({ handled: 3, deadLettered: 1 })
  })

  it('when the broker can never accept its output', async () => {
    const test = await doubling(double)
    test.transport.onPublish = refusing('too_large', '2')
    const deliveries = deliver(test, ['a', 0], ['a', 1], ['a', 2], [null, 3])
    await drain()
    expect(letters(test)).toEqual([['1', 'binder.send']])
    expect(ends(deliveries)).toEqual(['acked', 'acked', 'acked', 'acked'])
    expect(status(test)).toMatchObject({ handled: 3, deadLettered: 1 })
    expect(test.calls).toHaveLength(1)
  })

  it('when it does not decode, before the call', async () => {
    const test = await doubling(double)
    test.transport.subscription.deliver(null, 'text')
    deliver(test, [null, 1], [null, 2], [null, 3])
    await drain()
    expect(test.calls).toEqual([[1, 2, 3]])
    expect(sent(test)).toEqual(['2', '4', '6'])
    expect(letters(test)).toEqual([['"text"', 'core.schema']])
  })
})
