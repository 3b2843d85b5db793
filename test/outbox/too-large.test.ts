import { combineTransports, createBinder, defineChannel } from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { Kafka, logLevel } from 'kafkajs'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const Text = z.object({ text: z.string() })
const topic = defineChannel('topic', { payload: Text })
const queue = defineChannel('queue', { payload: Text })
const here = defineChannel('here', { payload: Text })

/** Brokers that do not exist: their limits are known all the same. */
async function setup() {
  const sql = embedded()
  const kafka = new Kafka({ brokers: ['127.0.0.1:1'], logLevel: logLevel.NOTHING })
  const transport = combineTransports({
    transports: {
      kafka: kafkaTransport({ kafka, maxMessageBytes: 2_000 }),
      rabbit: rabbitTransport({ url: 'amqp://127.0.0.1:1', maxMessageBytes: 2_000 }),
      memory: memoryTransport(),
    },
    of: { topic: 'kafka', queue: 'rabbit' },
    default: 'memory',
  })
  const binder = createBinder({ service: 'test', transport })
  onTestFinished(() => binder.close())
  const outbox = createOutbox({ sql, service: 'test', schema: uniqueName('large'), transport })
  await outbox.migrate()
  return { sql, outbox }
}

test('a message that is too large for the broker is refused in its transaction, which continues', async () => {
  const { sql, outbox } = await setup()
  const text = 'x'.repeat(3_000)
  await sql.transaction(async (tx) => {
    for (const channel of [topic, queue]) {
      const adding = outbox.add(tx, channel, { text })
      await expect(adding).rejects.toMatchObject({
        code: 'binder.send',
        retryable: false,
        cause: { kind: 'too_large' },
      })
      await outbox.add(tx, channel, { text: 'small' })
    }
    await outbox.add(tx, here, { text })
  })
  expect((await outbox.stats()).pending).toBe(3)
})
