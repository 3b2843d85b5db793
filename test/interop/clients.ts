/** Clients of other languages from Debian's packages: kcat (librdkafka), python3-kafka, pika and kombu. */
import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createBinder, defineChannel, partitionOf, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { bytesCodec, jsonCodec, textCodec } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { z } from 'zod'
import { kafkaOn } from '../support/kafka-driver.ts'
import { findBinary } from '../support/servers/binaries.ts'
import type { Kept } from './collect.ts'
import type { Report } from './report.ts'

const run = promisify(execFile)
const SCRIPTS = join(import.meta.dirname, 'python')
const KEYS = ['k1', 'k2', 'k3', 'größe']

/** Creates a channel with one sink, and records its messages. */
async function handling(name: string, transport: Transport) {
  const seen: Kept[] = []
  const channel = defineChannel(name, {
    payload: z.unknown(),
    codec: jsonCodec,
    reads: [textCodec, bytesCodec],
    partitions: 3,
    tombstones: true,
    key: () => 'k1',
  })
  const keep = sink(channel, { group: 'g' }, (payload, { id, source, key, headers }) => {
    seen.push({ payload, id, source, key, headers })
  })
  const binder = createBinder({ service: 'interop', transport, bindings: [keep] })
  await binder.start()
  await binder.ready()
  return { seen, channel, binder }
}

const fresh = (name: string): string => `i-${name}-${randomUUID().slice(0, 8)}`

/** Python that has a module: a separately installed one does not see Debian's packages. */
async function pythonWith(module: string): Promise<string | undefined> {
  const found = [findBinary('python3'), findBinary('python3', ['/usr/bin'])]
  for (const python of found) {
    if (python === undefined) continue
    const has = await run(python, ['-c', `import ${module}`]).then(
      () => true,
      () => false,
    )
    if (has) return python
  }
  return undefined
}

export async function kcatCases(report: Report, url: string): Promise<void> {
  const kcat = findBinary('kcat')
  if (kcat === undefined) return report.skip('kcat', 'no kcat in PATH: apt-get install kcat')
  const topic = fresh('kcat')
  const { seen, channel, binder } = await handling(topic, kafkaOn(url))
  const send = async (args: readonly string[], lines: readonly string[]): Promise<void> => {
    const child = spawn(kcat, ['-b', url, '-t', topic, '-P', ...args], { stdio: ['pipe', 'ignore', 'inherit'] })
    child.stdin.end(lines.join('\n'))
    await once(child, 'close')
  }
  await send(
    ['-K', '|', '-H', 'tenant=acme', '-z', 'lz4', '-X', 'topic.partitioner=murmur2_random'],
    KEYS.map((key) => `${key}|{"key":"${key}"}`),
  )
  const byKey = () => seen.map(({ key, payload, headers }) => [key, payload, headers['tenant']]).toSorted(byText)
  await report.check(
    'kcat: keys, JSON, headers, lz4',
    KEYS.map((key) => [key, { key }, 'acme']).toSorted(byText),
    byKey,
    () => seen.length === KEYS.length,
  )
  const partitions = await consumed(kcat, url, topic, '%k %p\n')
  await report.check(
    'kcat with partitioner=murmur2_random puts keys where we do',
    KEYS.map((key) => `${key} ${partitionOf(key, 3)}`).toSorted(),
    () => partitions.toSorted(),
  )
  seen.length = 0
  await send(
    [
      '-k',
      'k1',
      '-H',
      'ce_specversion=1.0',
      '-H',
      'ce_id=x-1',
      '-H',
      'ce_source=/kcat',
      '-H',
      'ce_type=t',
      '-H',
      'content-type=text/plain',
    ],
    ['hello'],
  )
  await report.check(
    'kcat: a CloudEvent in binary mode, as text',
    ['hello', 'x-1', '/kcat'],
    () => seen.flatMap(({ payload, id, source }) => [payload, id, source]),
    () => seen.length === 1,
  )
  const { id } = await binder.send(channel, { n: 1 }, { headers: { tenant: 'ours' } })
  const back = await consumed(kcat, url, topic, '%k %s %h\n')
  await report.check('kcat reads ours', true, () => {
    const line = back.find((each) => each.includes(id))
    return (line?.startsWith('k1 {"n":1} ') && line.includes('tenant=ours')) || back
  })
  await binder.close()
}

async function consumed(kcat: string, url: string, topic: string, format: string): Promise<readonly string[]> {
  const { stdout } = await run(kcat, ['-b', url, '-t', topic, '-C', '-e', '-q', '-f', format])
  return stdout.split('\n').filter((line) => line !== '')
}

export async function pythonKafkaCases(report: Report, url: string): Promise<void> {
  const python = await pythonWith('kafka')
  if (python === undefined) return report.skip('python3-kafka', 'no Python with kafka: apt-get install python3-kafka')
  const topic = fresh('python')
  const { seen, binder } = await handling(topic, kafkaOn(url))
  const { stdout } = await run(python, [join(SCRIPTS, 'kafka_send.py'), url, topic, ...KEYS])
  await report.check(
    'python3-kafka: keys where we put them, a key that is null, a tombstone, a header of bytes',
    [KEYS.map((key) => String(partitionOf(key, 3))), [...KEYS, 'k1', null].toSorted(byText), [null], [255, 0]],
    () => [
      stdout.trim().split('\n'),
      seen.map(({ key }) => key).toSorted(byText),
      seen.filter(({ payload }) => payload === null).map(({ payload }) => payload),
      bytesIn(seen),
    ],
    () => seen.length === KEYS.length + 2,
  )
  await binder.close()
}

const bytesIn = (seen: readonly Kept[]): readonly number[] =>
  seen.flatMap(({ headers }) => [...((headers['raw'] as Uint8Array | undefined) ?? [])]).slice(0, 2)

const byText = (a: unknown, b: unknown): number => JSON.stringify(a).localeCompare(JSON.stringify(b))

export async function pikaCases(report: Report, url: string): Promise<void> {
  const python = await pythonWith('pika')
  if (python === undefined) return report.skip('pika', 'no Python with pika: apt-get install python3-pika')
  const exchange = fresh('pika')
  const { seen, binder } = await handling(exchange, rabbitTransport({ url }))
  await run(python, [join(SCRIPTS, 'pika_send.py'), url, exchange])
  await report.check(
    'pika: typed headers, a negative decimal in and outside of a list, properties',
    ['p-1', 'py', -7, true, null, Date.UTC(2026, 0, 1), -1.5, 3.25, -1.5, [255, 0], 'q', 3],
    () => {
      const [{ id, source, headers }] = seen as [Kept]
      const [first] = JSON.parse(String(headers['list'])) as readonly [{ readonly value: { readonly digits: number } }]
      const { int, yes, none, at, minus, plus, raw } = headers
      const typed = [int, yes, none, at, minus, plus, first.value.digits / 10]
      return [id, source, ...typed, [...(raw as Uint8Array)], headers['amqp-reply-to'], headers['amqp-priority']]
    },
    () => seen.length === 1,
  )
  await binder.close()
}

export async function kombuCases(report: Report, url: string): Promise<void> {
  const python = await pythonWith('kombu')
  if (python === undefined) return report.skip('kombu', 'no Python with kombu: apt-get install python3-kombu')
  const exchange = fresh('kombu')
  const { seen, binder } = await handling(exchange, rabbitTransport({ url }))
  await run(python, [join(SCRIPTS, 'kombu_send.py'), url, exchange])
  const letters = () => binder.binding(`${exchange}.g`).status().deadLettered
  await report.check(
    'kombu: JSON, text, compression zlib; bzip2 is a dead letter',
    [[{ n: 1 }, 'text', { n: 2 }], 1],
    () => [seen.map(({ payload }) => payload), letters()],
    () => seen.length === 3 && letters() === 1,
  )
  await binder.close()
}
