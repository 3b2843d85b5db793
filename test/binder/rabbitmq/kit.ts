import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import type { EncodedMessage } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { type Clock, silentLogger, systemClock } from 'concordat/core'
import type { Receiver, Subscription, Transport, TransportDelivery } from 'concordat/extension'
import { onTestFinished } from 'vitest'
import { withDeadline } from '../../support/deadline.ts'
import type { AmqpConnection, RabbitTransportOptions } from '../../support/inside/binder.ts'
import { plainMessage } from './messages.ts'

/** A transport as a binder would use it; closed after the test. */
export function attached(
  options: RabbitTransportOptions,
  publishTimeoutMs = 10_000,
  clock: Clock = systemClock,
): Transport {
  const transport = rabbitTransport(options)
  const instance = `tests-${randomUUID().slice(0, 8)}`
  transport.attach({ service: 'tests', instance, logger: silentLogger, clock })
  onTestFinished(() => transport.close())
  return withDeadline(transport, publishTimeoutMs, clock)
}

export type AmqpAdmin = Awaited<ReturnType<Awaited<ReturnType<typeof connect>>['createChannel']>>

/** Plain amqplib, for what only a foreign program would do. A fresh channel, since a refusal closes it. */
export async function admin<T>(url: string, work: (channel: AmqpAdmin) => Promise<T>): Promise<T> {
  const connection = await connect(url)
  connection.on('error', () => {})
  try {
    const channel = await connection.createChannel()
    channel.on('error', () => {})
    return await work(channel)
  } finally {
    await connection.close()
  }
}

/** An unused destination; everything under its name is deleted after the test. */
export function freshDestination(url: string, groups: readonly string[] = ['g'], partitions = 4): string {
  const name = `rt-${randomUUID().slice(0, 8)}`
  onTestFinished(() =>
    admin(url, async (channel) => {
      for (const group of groups) {
        const ends = ['', ':members', ':idle', ...Array.from({ length: partitions }, (_, p) => `:${p}`)]
        for (const end of ends) await channel.deleteQueue(`${name}:${group}${end}`)
      }
      await channel.deleteExchange(name)
      await channel.deleteExchange(`${name}:partitions`)
    }),
  )
  return name
}

export const body = (n: number): Uint8Array => new TextEncoder().encode(String(n))
export const numberOf = ({ message }: Pick<TransportDelivery, 'message'>): number =>
  Number(new TextDecoder().decode(message.body ?? new Uint8Array()))

/** Messages 0 to count - 1, round robin over `keys`. */
export function numbered(destination: string, count: number, keys: readonly (string | null)[]): EncodedMessage[] {
  return Array.from({ length: count }, (_, n) =>
    plainMessage({ destination, id: `${destination}-${n}`, key: keys[n % keys.length] ?? null, body: body(n) }),
  )
}

/** Records its deliveries; settles each at once unless configured otherwise. */
export class Recorder implements Receiver {
  readonly got: TransportDelivery[] = []
  readonly losses: Error[] = []
  readonly #onDelivery: (delivery: TransportDelivery) => void
  /** Unsettled deliveries; `recall` gives them back. */
  readonly kept: Set<TransportDelivery> = new Set()

  constructor(onDelivery: (delivery: TransportDelivery) => void = (delivery) => delivery.ack()) {
    this.#onDelivery = onDelivery
  }

  /** Settles nothing. */
  static keeping(): Recorder {
    return new Recorder(() => {})
  }

  deliver(delivery: TransportDelivery): void {
    this.got.push(delivery)
    this.kept.add(delivery)
    this.#onDelivery(delivery)
  }

  recall(): void {
    for (const delivery of this.kept) delivery.release()
    this.kept.clear()
  }

  lost(error: Error): void {
    this.losses.push(error)
  }

  get numbers(): number[] {
    return this.got.map(numberOf)
  }
}

export const numbers = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i)

export async function subscribe(
  transport: Transport,
  destination: string,
  receiver: Receiver,
  spec: Partial<Parameters<Transport['subscribe']>[0]> = {},
): Promise<Subscription> {
  return transport.subscribe(
    { destination, partitions: 4, group: 'g', prefetch: 200, prefetchBytes: 16 * 1024 * 1024, ...spec },
    receiver,
  )
}

/** Cuts the connection as a broken network does. */
export function cut(connection: AmqpConnection | undefined): void {
  const inner = connection as unknown as { connection: { stream: { destroy(error: Error): void } } }
  inner.connection.stream.destroy(new Error('cut by the test'))
}
