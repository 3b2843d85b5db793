import {
  type BatchContext,
  type Binder,
  createBinder,
  defineChannel,
  processorBatch,
  produced,
  type Result,
  TransportError,
} from 'concordat/binder'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { BatchHandler, BatchSinkOptions, TransportErrorKind } from '../../support/inside/binder.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { NO_PAUSE } from './run.ts'
import { type ScriptedDelivery, ScriptedTransport } from './scripted-transport.ts'

export const numbers = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
export const doubled = defineChannel('doubled', { payload: z.number(), groups: ['keeper'] })

type Doubling = BatchHandler<number, BatchContext, Result<number>>

export interface DoublingSetup {
  readonly clock: FakeClock
  readonly transport: ScriptedTransport
  readonly binder: Binder
  readonly calls: number[][]
}

/** Starts a batch processor that doubles numbers, on a scripted transport. */
export async function doubling(handler: Doubling, options: Partial<BatchSinkOptions> = {}): Promise<DoublingSetup> {
  const clock = new FakeClock()
  const transport = new ScriptedTransport()
  const calls: number[][] = []
  const all = { group: 'g', backoff: NO_PAUSE, batch: { maxSize: 4, maxWaitMs: 10 }, ...options, inbox: undefined }
  const binding = processorBatch(numbers, doubled, all, (items, context) => {
    calls.push(items.map(({ payload }) => payload))
    return handler(items, context)
  })
  const binder = createBinder({ service: 'test', transport, clock, bindings: [binding] })
  onTestFinished(() => binder.close())
  await binder.start()
  return { clock, transport, binder, calls }
}

export const deliver = ({ transport }: DoublingSetup, ...messages: ReadonlyArray<readonly [string | null, number]>) =>
  messages.map(([key, payload]) => transport.subscription.deliver(key, payload))
export const ends = (deliveries: readonly ScriptedDelivery[]): unknown[] => deliveries.map(({ end }) => end)
export const status = ({ binder }: DoublingSetup) => binder.binding('numbers.g').status()

/** Messages sent to the output channel, in order. */
export const sent = ({ transport }: DoublingSetup): string[] =>
  transport.published
    .flat()
    .filter(({ destination }) => destination === 'doubled')
    .map(({ body }) => Buffer.from(body ?? []).toString())

/** Body and error code of each dead letter. */
export const letters = ({ transport }: DoublingSetup): unknown[] =>
  transport.published
    .flat()
    .filter(({ destination }) => destination.endsWith('.dlq'))
    .map(({ body, headers }) => [Buffer.from(body ?? []).toString(), headers['dead-letter-error-code']])

/** A broker that refuses the message with this body. */
export const refusing =
  (kind: TransportErrorKind, body: string) => async (messages: ReadonlyArray<{ body: Uint8Array | null }>) =>
    messages.map((message) =>
      Buffer.from(message.body ?? []).toString() === body
        ? new TransportError({ transport: 'scripted', kind, message: kind })
        : undefined,
    )

export const double: Doubling = (items) => items.map(({ payload }) => produced(payload * 2))
