/** Java producers and consumers, and Kafka's console tools. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { CloudEvent, Kafka as Events } from 'cloudevents'
import { createBinder, defineChannel, partitionOf, sink } from 'concordat/binder'
import { bytesCodec } from 'concordat/core'
import { z } from 'zod'
import { runJava } from '../support/java.ts'
import { kafkaOn } from '../support/kafka-driver.ts'
import { kafkaJarFolder } from '../support/servers/kafka-jars.ts'
import { until } from '../support/until.ts'
import type { Classes } from './classes.ts'
import { kafkaClient } from './collect.ts'
import type { Report } from './report.ts'

interface Handled {
  readonly text: string
  readonly id: string
  readonly source: string
  readonly headers: Readonly<Record<string, unknown>>
}

/** A binder with one sink on a channel of its own. */
async function sinkOn(url: string, name: string, partitions: number) {
  const handled: Handled[] = []
  const channel = defineChannel(name, {
    payload: z.instanceof(Uint8Array),
    codec: bytesCodec,
    partitions,
    key: () => 'k',
  })
  const binding = sink(channel, { group: 'g' }, (body, { id, source, headers }) => {
    handled.push({ text: Buffer.from(body).toString().trim(), id, source, headers })
  })
  const transport = kafkaOn(url)
  const binder = createBinder({ service: 'interop', transport, bindings: [{ ...binding }] })
  return { handled, channel, binder, lag: () => binder.lag(`${name}.g`) }
}

const TOOLS = 'kafka-tools-4.4.0.jar'

/** Leaves out missing attributes, which kafkajs cannot write. */
const said = (headers: object): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined))

const fresh = (name: string): string => `${name}-${randomUUID().slice(0, 8)}`

/** Runs a program, with these lines as its input. @returns the lines of its output */
async function run(classes: Classes, jars: string, args: readonly string[], lines: readonly string[] = []) {
  const path = `${classes.compiled}:${jars}`
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error'
  const child = spawn(classes.java, ['-Xmx192m', '-XX:TieredStopAtLevel=1', quiet, '-cp', path, ...args])
  let out = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  child.stderr.resume()
  child.stdin.end(lines.map((line) => `${line}\n`).join(''))
  await once(child, 'close')
  return out.split('\n').filter((line) => line !== '')
}

export async function transactionCases(report: Report, url: string): Promise<void> {
  for (const [seed, largest] of [
    [11, 30_000],
    [12, 3_000],
  ] as const) {
    const topic = fresh('i-transactions')
    const { handled, binder } = await sinkOn(url, topic, 2)
    await binder.start()
    const expected = await runJava('Transactions', [url, topic, String(seed), '100', String(largest), 'read'])
    await report.check(
      `100 rounds of overlapping Java transactions, records up to ${largest} bytes: aborted ones handled, others as the Java client reads`,
      [0, expected.length],
      () => [handled.filter(({ text }) => text.includes('aborted')).length, handled.length],
      () => handled.length >= expected.length,
    )
    await binder.close()
  }
}

export async function compressionCases(report: Report, url: string): Promise<void> {
  for (const codec of ['gzip', 'snappy', 'lz4', 'zstd']) {
    const topic = fresh('i-compressed')
    const { handled, binder } = await sinkOn(url, topic, 1)
    await binder.start()
    await runJava('Compressed', [url, topic, 'write', codec, '0', '20', '2000'])
    await report.check(
      `20 records of a Java producer with ${codec}`,
      20,
      () => handled.length,
      () => handled.length >= 20,
    )
    await binder.close()
  }
}

export async function partitionCases(report: Report, classes: Classes): Promise<void> {
  const keys = Array.from({ length: 209 }, (_, i) => ['order', 'größe', '訂單', '🚚', 'x'.repeat(i)][i % 5] + String(i))
  const hex = keys.map((key) => Buffer.from(key).toString('hex'))
  const theirs = await run(classes, join(kafkaJarFolder(), '*'), ['Partitions'], hex)
  await report.check(
    'keys of 209 that lie where the Java client puts them, of 7 partitions',
    209,
    () => keys.filter((key, i) => String(partitionOf(key, 7)) === theirs[i]).length,
  )
}

export async function consoleCases(report: Report, classes: Classes, url: string): Promise<void> {
  const topic = fresh('i-console')
  const groups = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'
  const tool = (...args: string[]) =>
    run(classes, `${kafkaJarFolder()}/*:${join(classes.jars, TOOLS)}`, [
      groups,
      '--bootstrap-server',
      url,
      '--group',
      `g.${topic}`,
      ...args,
    ])
  const { handled, channel, binder, lag } = await sinkOn(url, topic, 1)
  const producer = createBinder({
    service: 'sender',
    transport: kafkaOn(url),
    sends: [channel],
  })
  await producer.start()
  for (let n = 0; n < 5; n++) await producer.send(channel, Buffer.from(String(n)))
  await tool('--reset-offsets', '--topic', topic, '--to-offset', '3', '--execute')
  await binder.start()
  await report.check(
    'a group that never ran begins where kafka-consumer-groups has set it',
    ['3', '4'],
    () => handled.map(({ text }) => text),
    () => handled.length >= 2,
  )
  await until('all is committed', async () => (await lag()) === 0)
  await binder.binding(`${topic}.g`).stop()
  for (let n = 5; n < 9; n++) await producer.send(channel, Buffer.from(String(n)))
  const described = async (): Promise<number> => {
    const line = (await tool('--describe')).find((each) => each.includes(topic) && /\d/.test(each))
    return Number(line?.trim().split(/\s+/)[5])
  }
  await report.check('lag by kafka-consumer-groups and by binder.lag', [4, 4], async () => [
    await described(),
    await lag(),
  ])
  await binder.close()
  await producer.close()
}

export async function cloudEventCases(report: Report, classes: Classes, url: string): Promise<void> {
  const topic = fresh('i-events')
  const { handled, channel, binder } = await sinkOn(url, topic, 1)
  await binder.start()
  for (const [i, mode] of ['binary', 'structured'].entries()) {
    await run(classes, join(classes.jars, '*'), ['Events', url, topic, mode])
    await report.check(
      `the Java CloudEvents SDK writes, ${mode}`,
      ['{"n":1}', 'java-1', '/java', 'acme'],
      () => handled.slice(i).flatMap(({ text, id, source, headers }) => [text, id, source, headers['tenant']]),
      () => handled.length > i,
    )
  }
  const producer = kafkaClient(url).producer()
  await producer.connect()
  const event = new CloudEvent({ id: 'js-1', source: '/js', type: 'placed', tenant: 'acme', data: { n: 1 } })
  for (const [i, message] of [Events.binary(event), Events.structured(event)].entries()) {
    const value = typeof message.value === 'string' ? message.value : JSON.stringify(message.value)
    await producer.send({ topic, messages: [{ value, headers: said(message.headers) }] })
    await report.check(
      `the npm CloudEvents SDK writes, ${i === 0 ? 'binary' : 'structured'}`,
      ['{"n":1}', 'js-1', '/js', 'acme'],
      () => handled.slice(2 + i).flatMap(({ text, id, source, headers }) => [text, id, source, headers['tenant']]),
      () => handled.length > 2 + i,
    )
  }
  await producer.disconnect()
  const back = fresh('i-events-back')
  const ours = await sinkOn(url, back, 1)
  await ours.binder.start()
  const { id } = await ours.binder.send(ours.channel, Buffer.from('hello'))
  await report.check(
    'the Java CloudEvents SDK reads ours',
    [`k ${id} interop ${back} application/octet-stream hello`],
    async () => {
      const said = await run(classes, join(classes.jars, '*'), ['Events', url, back, 'read'])
      return said.filter((line) => line.startsWith('k '))
    },
  )
  void channel
  await ours.binder.close()
  await binder.close()
}
