/** Binder that keeps its messages, on the channels of the cases. */
import {
  type Binder,
  type Channel,
  createBinder,
  defineChannel,
  type Headers,
  sink,
  TerminalError,
} from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { jsonCodec, textCodec } from 'concordat/core'
import { Kafka, logLevel } from 'kafkajs'
import { z } from 'zod'
import { kafkaOn } from '../support/kafka-driver.ts'

export const kafkaClient = (url: string): Kafka => new Kafka({ brokers: [url], logLevel: logLevel.NOTHING })

const any = { payload: z.unknown(), partitions: 1 }
export const fromSpring = defineChannel('i.from-spring', { ...any, codec: jsonCodec, reads: [textCodec] })
export const toSpring = defineChannel('i.to-spring', { ...any, key: () => 'k' })
export const orders = defineChannel('i.orders', { ...any, key: () => 'question' })
export const payments = defineChannel('i.payments', any)
export const broken = defineChannel('i.broken', any)
export const fails = defineChannel('i.fails', any)
export const springsLetters = defineChannel('error.i.fails.boom', any)
export const rabbitOrders = defineChannel('ri.orders', { ...any, key: () => 'question' })
export const rabbitPayments = defineChannel('ri.payments', { ...any, groups: ['g'] })

export interface Kept {
  readonly payload: unknown
  readonly id: string
  readonly source: string
  readonly key: string | null
  readonly headers: Headers
}

export interface Collector {
  readonly binder: Binder
  readonly kept: ReadonlyMap<string, readonly Kept[]>
}

/** Starts it; handlers keep their messages, by channel. */
export async function collectOnKafka(url: string): Promise<Collector> {
  const kept = new Map<string, Kept[]>()
  const keep = (channel: Channel<unknown>) => keeping(channel, kept)
  const refuse = sink(broken, { group: 'g' }, () => {
    throw new TerminalError('not here')
  })
  const binder = createBinder({
    service: 'interop',
    transport: kafkaOn(url, { springHeaderTypes: true }),
    bindings: [keep(fromSpring), keep(payments), keep(springsLetters), refuse],
    sends: [toSpring, orders, fails],
  })
  await binder.start()
  await binder.ready()
  return { binder, kept }
}

export async function collectOnRabbit(url: string): Promise<Collector> {
  const kept = new Map<string, Kept[]>()
  const binder = createBinder({
    service: 'interop',
    transport: rabbitTransport({ url, unroutable: 'accept' }),
    bindings: [keeping(rabbitPayments, kept)],
    sends: [rabbitOrders],
  })
  await binder.start()
  await binder.ready()
  return { binder, kept }
}

function keeping(channel: Channel<unknown>, all: Map<string, Kept[]>) {
  const list: Kept[] = []
  all.set(channel.name, list)
  return sink(channel, { group: 'g' }, (payload, { id, source, key, headers }) => {
    list.push({ payload, id, source, key, headers })
  })
}
