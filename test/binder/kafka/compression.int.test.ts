import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { runJava } from '../../support/java.ts'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, freshTopic, numbered, plainMessage, Recorder, range, subscribe } from './kit.ts'

const url = (): string => serverUrl('kafka') as string
const CODECS = ['gzip', 'snappy', 'lz4', 'zstd'] as const

const textOf = ({ message }: Recorder['got'][number]): string => Buffer.from(message.body ?? []).toString()

describeWith(['kafka'], 'Kafka and compressed batches', () => {
  it.for(CODECS)('reads batches written by the Java client with %s', async (codec, { expect }) => {
    const transport = attached(url())
    const topic = await freshTopic(transport, 1)
    await runJava('Compressed', [url(), topic, 'write', codec, '0', '40', '3000'])
    const recorder = new Recorder()
    await subscribe(transport, topic, recorder, { partitions: 1 })
    await until('all came', () => recorder.got.length === 40)
    const filling = (i: number): string => `${codec}${i}`.repeat(501)
    expect(recorder.got.map(textOf)).toEqual(range(40).map((i) => `${i} ${filling(i)}`))
  })

  it.for(CODECS)('writes with %s batches that the Java client reads', async (compression, { expect }) => {
    const transport = attached(url(), { compression })
    const topic = await freshTopic(transport, 1)
    const texts = range(40).map((i) => `${i} ${randomUUID().repeat(i * 20)}`)
    const messages = texts.map((text) => plainMessage({ destination: topic, body: Buffer.from(text) }))
    expect(await transport.publish(messages)).toEqual(messages.map(() => undefined))
    expect(await runJava('Compressed', [url(), topic, 'read', '40'])).toEqual(texts)
  })

  it('blocks a partition with an unreadable batch, reports it, and continues with the others', async ({ expect }) => {
    const setup = attached(url())
    const snappy = createRequire(import.meta.url)('snappyjs') as { uncompress: () => Buffer }
    const { uncompress } = snappy
    const restore = (): void => void Object.assign(snappy, { uncompress })
    onTestFinished(restore)
    const name = await freshTopic(setup, 2)
    await setup.publish(numbered(name, 5, ['k3']))
    await runJava('Compressed', [url(), name, 'write', 'snappy', '1', '10', '100'])
    snappy.uncompress = () => {
      throw new Error('snappy is broken')
    }
    const handled: unknown[] = []
    const channel = defineChannel(name, { payload: z.unknown(), partitions: 2 })
    const binder = createBinder({
      service: 'codecs',
      transport: kafkaOn(url()),
      bindings: [sink(channel, { group: 'g', onFailure: 'drop' }, (payload) => void handled.push(payload))],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await expect(binder.ready({ timeoutMs: 3_000 })).rejects.toThrow(/is no snappy/)
    const status = (): ReturnType<typeof binder.bindings>[number] | undefined => binder.bindings()[0]
    expect(binder.health().status).toBe('down')
    expect(status()).toMatchObject({ state: 'connecting', subscribed: 1 })
    expect(status()?.error).toMatch(/partition 1 of .* at offset 0 cannot be read: .* is no snappy/)
    await setup.publish(numbered(name, 5, ['k3'], 5))
    await until('the other partition goes on', () => handled.length === 10)
    restore()
    await until('it went on', () => status()?.state === 'running')
    await until('all came', () => (status()?.dropped ?? 0) === 10)
    expect(binder.health().status).toBe('up')
    expect(status()).toMatchObject({ error: undefined, subscribed: 1 })
  })
})
