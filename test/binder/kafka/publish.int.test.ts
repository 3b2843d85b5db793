import { randomUUID } from 'node:crypto'
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, it, onTestFinished } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import { describeWith, type PrivateServer, serverUrl, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, client, freshTopic, KEYS, numbered, plainMessage, Recorder, range, subscribe } from './kit.ts'

const url = (): string => serverUrl('kafka') as string

describeWith(['kafka'], 'Kafka publishing', () => {
  it('confirms each message of a list over many partitions and topics', async ({ expect }) => {
    const transport = attached(url())
    const [one, two] = [await freshTopic(transport), await freshTopic(transport)]
    const messages = [...numbered(one, 300, [...KEYS, null]), ...numbered(two, 300, [...KEYS, null])]
    expect(await transport.publish(messages)).toEqual(messages.map(() => undefined))
    expect(transport.health()).toEqual({ status: 'up' })
    const recorder = new Recorder()
    await subscribe(transport, one, recorder)
    await until('all came', () => recorder.got.length >= 300)
    expect(recorder.numbers.sort((a, b) => a - b)).toEqual(range(300))
  })

  it('sends more than the broker takes in one batch in several', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    const body = new Uint8Array(100_000).fill(7)
    const messages = Array.from({ length: 30 }, (_, i) =>
      plainMessage({ id: `m${i}`, destination: topic, key: 'k', body }),
    )
    expect(await transport.publish(messages)).toEqual(messages.map(() => undefined))
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await until('all came', () => recorder.got.length >= 30)
    expect(recorder.got.map(({ message }) => message.id)).toEqual(messages.map(({ id }) => id))
  })

  it('creates a topic with the retention of its channel, or of the transport by default', async ({ expect }) => {
    const transport = attached(url(), { topicConfig: { 'retention.ms': '7200000', 'cleanup.policy': 'delete' } })
    const [short, plain] = [`t${randomUUID().slice(0, 8)}`, `t${randomUUID().slice(0, 8)}`]
    await transport.provision([
      { name: short, partitions: 1, groups: [], retentionMs: 3_600_000 },
      { name: plain, partitions: 1, groups: [] },
    ])
    const admin = new Kafka({ brokers: [url()], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    onTestFinished(() => admin.disconnect())
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [short, plain].map((name) => ({ type: ConfigResourceTypes.TOPIC, name })),
    })
    const found = resources.map(({ configEntries }) => [
      configEntries.find(({ configName }) => configName === 'retention.ms')?.configValue,
      configEntries.find(({ configName }) => configName === 'segment.ms')?.configValue,
    ])
    expect(found).toEqual([
      ['3600000', '3600000'],
      ['7200000', expect.any(String)],
    ])
  })

  it('refuses a message over the limit alone', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    const messages = numbered(topic, 3, ['k'])
    messages[1] = plainMessage({ destination: topic, key: 'k', body: new Uint8Array(1_000_001) })
    expect(await transport.publish(messages)).toEqual([
      undefined,
      expect.objectContaining({ kind: 'too_large', retryable: false, destination: topic }),
      undefined,
    ])
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await until('the others came', () => recorder.got.length >= 2)
    expect(recorder.numbers).toEqual([0, 2])
  })

  it('identifies the one message that the broker refuses, and loses no other or later one', async ({ expect }) => {
    const transport = attached(url(), { topicConfig: { 'max.message.bytes': '20000' } })
    const topic = await freshTopic(transport)
    const messages = numbered(topic, 40, KEYS)
    messages[17] = plainMessage({ destination: topic, key: KEYS[1], body: new Uint8Array(50_000) })
    const outcomes = await transport.publish(messages)
    expect(outcomes.flatMap((outcome, i) => (outcome === undefined ? [] : [[i, outcome.kind]]))).toEqual([
      [17, 'too_large'],
    ])
    const later = numbered(topic, 40, KEYS, 100)
    expect(await transport.publish(later)).toEqual(later.map(() => undefined))
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    const expected = [...range(40).filter((n) => n !== 17), ...range(40, 100)]
    await until('the others came', () => new Set(recorder.numbers).size >= expected.length)
    expect([...new Set(recorder.numbers)].sort((a, b) => a - b)).toEqual(expected)
    for (const key of KEYS) {
      const seen = recorder.got
        .filter(({ message }) => message.key === key)
        .map((each) => Number(Buffer.from(each.message.body as Uint8Array)))
      const firsts = seen.filter((n, i) => seen.indexOf(n) === i)
      expect(firsts).toEqual([...firsts].sort((a, b) => a - b))
    }
  })

  it('refuses a missing topic without creating it, and sends the rest of the list', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport)
    const messages = [...numbered(topic, 2, ['k']), plainMessage({ destination: `${topic}.nowhere` })]
    const outcomes = await transport.publish(messages)
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual([undefined, undefined, 'unroutable'])
    const admin = client(url()).admin()
    onTestFinished(() => admin.disconnect())
    await admin.connect()
    expect(await admin.listTopics()).not.toContain(`${topic}.nowhere`)
  })

  it('answers for a message that has no form on the wire', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport)
    const outcomes = await transport.publish([plainMessage({ destination: topic, time: Number.NaN })])
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['mismatch'])
    expect(await transport.publish([])).toEqual([])
  })

  it('is readable by plain kafkajs, keys where the Java client puts them', async ({ expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport)
    await transport.publish([plainMessage({ id: 'm1', destination: topic, key: 'order-7', headers: { n: 1 } })])
    const consumer = client(url()).consumer({ groupId: `plain.${topic}`, maxWaitTimeInMs: 100 })
    onTestFinished(() => consumer.disconnect())
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    const got = Promise.withResolvers<object>()
    await consumer.run({
      eachMessage: ({ partition, message }) => {
        const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)])
        got.resolve({
          partition,
          key: String(message.key),
          value: String(message.value),
          headers: Object.fromEntries(headers),
        })
        return Promise.resolve()
      },
    })
    // org.apache.kafka.common.utils.Utils.murmur2("order-7") & 0x7fffffff, modulo 4
    expect(await got.promise).toMatchObject({
      partition: 1,
      key: 'order-7',
      value: '{}',
      headers: { ce_id: 'm1', n: '1' },
    })
  })

  it('creates a topic once for several clients', async ({ expect }) => {
    const [first, second] = [attached(url()), attached(url())]
    const name = `t${randomUUID().slice(0, 8)}`
    const spec = [{ name, partitions: 3, groups: [] }]
    await Promise.all([first.provision(spec), second.provision(spec), first.provision(spec)])
    const admin = client(url()).admin()
    onTestFinished(() => admin.disconnect())
    await admin.connect()
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] })
    expect(topics[0]?.partitions).toHaveLength(3)
    const messages = numbered(name, 50, ['a', 'b', 'c', 'd', 'e', null])
    expect(await second.publish(messages)).toEqual(messages.map(() => undefined))
  })
})

describeWith(['kafka'], 'Kafka publishing on a broker of its own', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer('kafka')
  })
  afterAll(() => server.stop())

  it('ends in time on a broker that hangs, and works again after', async ({ expect }) => {
    onTestFinished(() => server.resume())
    const transport = attached(server.url, { connectTimeoutMs: 1_000, requestTimeoutMs: 1_000 }, 2_000)
    const topic = await freshTopic(transport, 1)
    await transport.publish(numbered(topic, 1, ['k']))
    server.pause()
    const begun = performance.now()
    const outcomes = await transport.publish(numbered(topic, 2, ['k'], 1))
    await expectWithin(performance.now() - begun, 4_000)
    expect(outcomes.map((outcome) => outcome?.retryable)).toEqual([true, true])
    expect(transport.health().status).toBe('down')
    server.resume()
    await until('it works again', async () => (await transport.publish(numbered(topic, 1, ['k'], 3)))[0] === undefined)
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await until('the last came', () => recorder.numbers.includes(3))
    const firsts = recorder.numbers.filter((n, i, all) => all.indexOf(n) === i)
    expect(firsts.filter((n) => n === 0 || n === 3)).toEqual([0, 3])
  })

  it('continues over a restart of the broker without losing or swallowing confirmed messages', async ({ expect }) => {
    const transport = attached(server.url, {}, 60_000)
    const topic = await freshTopic(transport)
    const confirmed = new Set<number>()
    let next = 0
    const publishSome = async (): Promise<void> => {
      const from = next
      next += 50
      const outcomes = await transport.publish(numbered(topic, 50, [...KEYS, null], from))
      for (const [i, outcome] of outcomes.entries()) if (outcome === undefined) confirmed.add(from + i)
    }
    const restart = async (): Promise<void> => {
      await server.kill()
      await server.start()
    }
    for (let round = 0; round < 3; round++) {
      let restarted = false
      for (let i = 0; i < 3; i++) await publishSome()
      const inFlight = publishSome()
      const restarting = restart().then(() => (restarted = true))
      await inFlight
      while (!restarted) await publishSome()
      await restarting
      await publishSome()
    }
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder)
    await until('everything confirmed came', () => {
      const seen = new Set(recorder.numbers)
      return [...confirmed].every((n) => seen.has(n))
    })
    expect(confirmed.size).toBeGreaterThan(300)
  })

  it('fails within its timeout when no broker answers', async ({ expect }) => {
    const transport = attached('127.0.0.1:1', { connectTimeoutMs: 500 }, 1_000)
    const begun = performance.now()
    await expect(transport.provision([{ name: 't', partitions: 1, groups: [] }])).rejects.toMatchObject({
      code: 'binder.transport',
      kind: expect.stringMatching(/unavailable|timeout/),
      retryable: true,
    })
    expect((await transport.publish([plainMessage()])).map((outcome) => outcome?.retryable)).toEqual([true])
    expect(transport.health().status).toBe('down')
    await expectWithin(performance.now() - begun, 5_000)
  })
})
