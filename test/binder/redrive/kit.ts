import { type Channel, createBinder, defineChannel, redrive, sink } from 'concordat/binder'
import type { Clock } from 'concordat/core'
import { type MemoryBroker, memoryBroker, memoryTransport } from 'concordat/memory'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { RedriveOptions } from '../../support/inside/binder.ts'
import { until } from '../../support/until.ts'

export const channel = defineChannel('orders', { payload: z.number(), key: (n) => `k${n % 2}`, groups: ['g'] })

/** Creates a service whose handler fails while `isBroken`, with dead letters 0 to `count` - 1. */
export async function withLetters(count: number) {
  const broker = memoryBroker()
  const state = { isBroken: true, handled: [] as number[] }
  const binding = sink(channel, { group: 'g', maxAttempts: 1 }, (n) => {
    if (state.isBroken) throw new Error('closed')
    state.handled.push(n)
  })
  const binder = createBinder({ service: 'shop', transport: memoryTransport({ broker }), bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.sendBatch(
    channel,
    Array.from({ length: count }, (_, n) => n),
  )
  const status = () => binder.binding('orders.g').status()
  await until('all are dead letters', () => status().deadLettered === count)
  return { broker, binder, state, status }
}

export const run = (broker: MemoryBroker, options: RedriveOptions = {}, clock?: Clock) =>
  redrive(
    { service: 'operator', transport: memoryTransport({ broker }), clock },
    channel as unknown as Channel,
    'g',
    options,
  )
