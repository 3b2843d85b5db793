import { randomUUID } from 'node:crypto'
import type { EncodedMessage } from 'concordat/binder'
import { silentLogger, systemClock } from 'concordat/core'
import type { Receiver, Subscription, Transport, TransportDelivery } from 'concordat/extension'
import { Kafka, logLevel } from 'kafkajs'
import { onTestFinished } from 'vitest'
import { withDeadline } from '../../support/deadline.ts'
import type { KafkaCommonOptions } from '../../support/inside/binder.ts'
import { isRetryable } from '../../support/inside/core.ts'
import { kafkaOn, type Way } from '../../support/kafka-driver.ts'
import { until } from '../../support/until.ts'

export function client(brokers: string): Kafka {
  return new Kafka({ clientId: 'tests', brokers: [brokers], logLevel: logLevel.NOTHING })
}

/** A transport as a binder would use it; closed after the test. */
export function attached(
  brokers: string,
  options: KafkaCommonOptions = {},
  publishTimeoutMs = 10_000,
  way?: Way,
): Transport {
  const transport = kafkaOn(brokers, options, way)
  const instance = `tests-${randomUUID().slice(0, 8)}`
  transport.attach({ service: 'tests', instance, logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  return withDeadline(transport, publishTimeoutMs, systemClock)
}

/** An unused topic name. */
export async function freshTopic(transport: Transport, partitions = 4): Promise<string> {
  const name = `kt-${randomUUID().slice(0, 8)}`
  await transport.provision([{ name, partitions, groups: [] }])
  return name
}

export function plainMessage(fields: Partial<EncodedMessage> = {}): EncodedMessage {
  return {
    id: randomUUID(),
    destination: 'orders.placed',
    key: null,
    type: 'orders.placed',
    source: 'tests',
    contentType: 'application/json',
    time: Date.UTC(2026, 10, 20, 8, 0, 0, 250),
    headers: {},
    body: new TextEncoder().encode('{}'),
    ...fields,
  }
}

/** Messages `from` to `from + count - 1`, round robin over `keys`. */
export function numbered(topic: string, count: number, keys: readonly (string | null)[], from = 0): EncodedMessage[] {
  return Array.from({ length: count }, (_, i) =>
    plainMessage({
      destination: topic,
      key: keys[i % keys.length] ?? null,
      body: new TextEncoder().encode(String(from + i)),
    }),
  )
}

export const numberOf = ({ message }: Pick<TransportDelivery, 'message'>): number =>
  Number(new TextDecoder().decode(message.body ?? new Uint8Array()))

/** Keys that map to each of four partitions, in partition order. */
export const KEYS = ['k3', 'k0', 'k8', 'k14'] as const

/** Records its deliveries; settles each at once unless configured otherwise. */
export class Recorder implements Receiver {
  readonly got: TransportDelivery[] = []
  readonly losses: Error[] = []
  onDelivery: (delivery: TransportDelivery) => void
  onRecall: () => void = () => {}
  displaced?: NonNullable<Receiver['displaced']>
  recalls = 0
  held = false

  constructor(onDelivery: (delivery: TransportDelivery) => void = (delivery) => delivery.ack()) {
    this.onDelivery = onDelivery
  }

  /** Settles nothing. */
  static keeping(): Recorder {
    return new Recorder(() => {})
  }

  deliver(delivery: TransportDelivery): void {
    this.got.push(delivery)
    this.onDelivery(delivery)
  }

  recall(): void {
    this.recalls++
    this.onRecall()
  }

  isHeld(): boolean {
    return this.held
  }

  lost(error: Error): void {
    this.losses.push(error)
  }

  get numbers(): number[] {
    return this.got.map(numberOf)
  }
}

/**
 * Tries until it works, as the binder does: a broker that has just started has no group coordinator yet. Closed after the
 * test, before its transport.
 */
export async function subscribe(
  transport: Transport,
  topic: string,
  receiver: Receiver,
  fields: Partial<Parameters<Transport['subscribe']>[0]> = {},
): Promise<Subscription> {
  const spec = { destination: topic, partitions: 4, group: 'g', prefetch: 200, prefetchBytes: 16 << 20, ...fields }
  let subscription: Subscription | undefined
  await until('the subscription is there', async () => {
    subscription = await transport.subscribe(spec, receiver).catch(unlessRetryable)
    return subscription !== undefined
  })
  onTestFinished(() => subscription?.close())
  return subscription as Subscription
}

function unlessRetryable(error: Error): undefined {
  if (!isRetryable(error)) throw error
}

export const range = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i)

/** Limits with room for any batch, for readers of batches. */
export const ROOMY = { roomBytes: 1e9, maxBatchBytes: 1e9 } as const
