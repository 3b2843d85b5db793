/** Kafka Streams between two of our services. */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Channel, createBinder, defineChannel, sink } from 'concordat/binder'
import { z } from 'zod'
import { kafkaOn } from '../support/kafka-driver.ts'
import type { Classes } from './classes.ts'
import { type Kept, kafkaClient } from './collect.ts'
import type { Report } from './report.ts'
import { startApp } from './spring.ts'

const KEYS = ['k1', 'k2', 'größe', '🚚']
const PARTITIONS = 4
const OUT = ['lines', 'clean', 'joined', 'counts', 'copied']

export async function streamsCases(report: Report, classes: Classes, url: string): Promise<void> {
  const prefix = `streams-${randomUUID().slice(0, 8)}`
  const any = { payload: z.unknown(), partitions: PARTITIONS }
  const orders = defineChannel(`${prefix}.orders`, { ...any, key: ({ key }: Keyed) => key, payload: Order, version: 2 })
  const prices = defineChannel(`${prefix}.prices`, any)
  const kept = new Map<string, Kept[]>()
  const keep = (channel: Channel<unknown>) => {
    const list: Kept[] = []
    kept.set(channel.name, list)
    return sink(channel, { group: 'g' }, (payload, { id, source, key, headers }) => {
      list.push({ payload, id, source, key, headers })
    })
  }
  // Copied headers have the version of the orders: these declarations know it.
  const outputs = OUT.map((name) =>
    defineChannel(`${prefix}.${name}`, { ...any, version: 2, upcasts: { 1: (same) => same } }),
  )
  const binder = createBinder({
    service: 'interop',
    transport: kafkaOn(url),
    bindings: outputs.map(keep),
    sends: [orders, prices],
  })
  const folder = await mkdtemp(join(tmpdir(), 'concordat-streams-'))
  await binder.start()
  await binder.ready()
  const producer = kafkaClient(url).producer()
  await producer.connect()
  await producer.send({ topic: prices.name, messages: KEYS.map((key) => ({ key, value: '9' })) })
  await producer.disconnect()
  const streams = await startApp(classes, 'Streams', [url, prefix, folder])
  try {
    for (const key of KEYS) await binder.send(orders, { key }, { headers: { tenant: 'acme', n: 7 } })
    await streamed(report, (name) => kept.get(`${prefix}.${name}`) ?? [])
  } finally {
    await streams.stop()
    await binder.close()
    await rm(folder, { recursive: true, force: true })
  }
}

const Order = z.object({ key: z.string() })
type Keyed = z.infer<typeof Order>

async function streamed(report: Report, of: (name: string) => readonly Kept[]): Promise<void> {
  const has = (name: string, count: number) => () => of(name).length >= count
  const keys = (name: string) =>
    of(name)
      .map(({ key }) => String(key))
      .toSorted()
  const sorted = KEYS.toSorted()
  await report.check(
    'Kafka Streams, exactly once: what it writes is read, with keys and typed headers',
    [sorted, [7, 'acme']],
    () => [keys('copied'), [of('copied')[0]?.headers['n'], of('copied')[0]?.headers['tenant']]],
    has('copied', KEYS.length),
  )
  await report.check(
    'a join with a table that kafkajs filled: every key finds its partition',
    sorted,
    () => keys('joined'),
    has('joined', KEYS.length),
  )
  await report.check(
    'counts by key and window',
    [1, 1, 1, 1],
    () => of('counts').map(({ payload }) => (payload as { readonly count: number }).count),
    has('counts', KEYS.length),
  )
  await report.check(
    'flatMapValues: the lines of an order have its id, which an inbox warns of',
    [8, 4],
    () => [of('lines').length, ids(of('lines'))],
    has('lines', 2 * KEYS.length),
  )
  await report.check(
    'without the headers that the page names each line has an id of its own',
    [8, 8, undefined],
    () => [of('clean').length, ids(of('clean')), of('clean')[0]?.headers['payload-version']],
    has('clean', 2 * KEYS.length),
  )
}

const ids = (kept: readonly Kept[]): number => new Set(kept.map(({ source, id }) => `${source} ${id}`)).size
