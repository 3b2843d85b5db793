import { type BatchContext, type Binder, createBinder, defineChannel, sinkBatch } from 'concordat/binder'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { BatchHandler, BatchSinkOptions } from '../../support/inside/binder.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { NO_PAUSE } from './run.ts'
import { type ScriptedDelivery, ScriptedTransport } from './scripted-transport.ts'

const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })

/** A batch sink of numbers on a scripted transport. */
export interface BatchSetup {
  readonly clock: FakeClock
  readonly transport: ScriptedTransport
  readonly binder: Binder
  /** The payloads of each call, with their attempts. */
  readonly calls: string[][]
}

export async function batchSink(
  options: Partial<BatchSinkOptions> = {},
  handler: BatchHandler<number, BatchContext> = () => {},
): Promise<BatchSetup> {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  const calls: string[][] = []
  const binding = sinkBatch(
    channel,
    { group: 'g', backoff: NO_PAUSE, ...options, inbox: undefined },
    (items, context) => {
      calls.push(
        items.map(({ payload, context: { attempt } }) => (attempt === 1 ? `${payload}` : `${payload}/${attempt}`)),
      )
      return handler(items, context)
    },
  )
  const binder = createBinder({ service: 'test', transport, clock, bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  return { clock, transport, binder, calls }
}

export function deliver({ transport }: BatchSetup, ...messages: ReadonlyArray<readonly [string | null, unknown]>) {
  return messages.map(([key, payload]) => transport.subscription.deliver(key, payload))
}

export const ends = (deliveries: readonly ScriptedDelivery[]): unknown[] => deliveries.map(({ end }) => end)
export const status = ({ binder }: BatchSetup) => binder.binding('numbers.g').status()
