import { type ConsumerOptions, createBinder, defineChannel, failed, ok, sink, sinkBatch } from 'concordat/binder'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../../support/until.ts'
import { ScriptedTransport } from '../../support/scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
const readOnly = (): Error =>
  Object.assign(new Error('cannot execute INSERT in a read-only transaction'), { code: '25006' })
const unlucky = (): Error => new Error('the warehouse does not answer')

/** A handler that throws these, one after the other, and then works. */
async function setup(errors: readonly Error[], options: Partial<ConsumerOptions> = {}) {
  const attempts: number[] = []
  const left = [...errors]
  const transport = new ScriptedTransport()
  const binding = sink(
    channel,
    { group: 'g', maxAttempts: 2, backoff: { initialMs: 1 }, ...options },
    (_, { attempt }) => {
      attempts.push(attempt)
      const error = left.shift()
      if (error !== undefined) throw error
    },
  )
  const binder = createBinder({ service: 'test', transport, bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  return { transport, attempts }
}

describe('a database that is away', () => {
  it('uses no attempts, for any number of failures', async () => {
    const { transport, attempts } = await setup([readOnly(), readOnly(), readOnly(), unlucky()])
    const delivery = transport.subscription.deliver('k', 1)
    await until('it is settled', () => delivery.end !== undefined)
    expect(delivery.end).toBe('acked')
    expect(attempts).toEqual([1, 1, 1, 1, 2])
    expect(transport.published).toEqual([])
  })

  it('sends no copy for later where attempts are delayed', async () => {
    const { transport, attempts } = await setup([readOnly(), readOnly()], { retry: 'delayed' })
    const delivery = transport.subscription.deliver('k', 1)
    await until('it is settled', () => delivery.end !== undefined)
    expect(delivery.end).toBe('acked')
    expect(attempts).toEqual([1, 1, 1])
    expect(transport.published).toEqual([])
  })

  it('is an attempt when the option `retryable` returns false', async () => {
    const { transport, attempts } = await setup([readOnly()], { retryable: () => false })
    const delivery = transport.subscription.deliver('k', 1)
    await until('it is settled', () => delivery.end !== undefined)
    expect(attempts).toEqual([1])
    expect(transport.published.flat().map(({ destination }) => destination)).toEqual(['numbers.g.dlq'])
  })

  it('uses no attempt of a batch up', async () => {
    const left = [readOnly(), readOnly(), readOnly()]
    const seen: number[][] = []
    const transport = new ScriptedTransport()
    const binding = sinkBatch(channel, { group: 'g', maxAttempts: 2, backoff: { initialMs: 1 } }, (items) => {
      seen.push(items.map(({ context }) => context.attempt))
      const error = left.shift()
      if (error !== undefined) throw error
    })
    const binder = createBinder({ service: 'test', transport, bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    const deliveries = [1, 2].map((n) => transport.subscription.deliver('k', n))
    await until('both are settled', () => deliveries.every(({ end }) => end !== undefined))
    expect(deliveries.map(({ end }) => end)).toEqual(['acked', 'acked'])
    expect(seen.flat().every((attempt) => attempt === 1)).toBe(true)
    expect(transport.published).toEqual([])
  })

  it('leaves a batch message that fails behind another of its key within its attempts', async () => {
    const seen: number[] = []
    const transport = new ScriptedTransport()
    const binding = sinkBatch(
      channel,
      { group: 'g', maxAttempts: 2, backoff: { initialMs: 1 }, batch: { maxSize: 2, maxWaitMs: 1_000 } },
      (items) =>
        items.map(({ payload, context }) => {
          if (payload === 1) return seen.length < 4 ? failed(readOnly()) : ok
          seen.push(context.attempt)
          return failed(unlucky())
        }),
    )
    const binder = createBinder({ service: 'test', transport, bindings: [binding] })
    onTestFinished(() => binder.close())
    await binder.start()
    const deliveries = [transport.subscription.deliver('k', 1), transport.subscription.deliver('k', 2)]
    await until('they are settled', () => deliveries.every(({ end }) => end !== undefined))
    expect(seen).toEqual([1, 2, 2, 2, 2])
    expect(transport.published.flat().map(({ destination }) => destination)).toEqual(['numbers.g.dlq'])
  })
})
