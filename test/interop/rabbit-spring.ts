/** Spring Cloud Stream on RabbitMQ, configured for our direct exchanges. */
import { connect } from 'amqplib'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { bytesCodec, jsonCodec } from 'concordat/core'
import { z } from 'zod'
import { type Collector, rabbitOrders } from './collect.ts'
import type { Report } from './report.ts'
import type { Spring } from './spring.ts'

export async function rabbitSpringCases(report: Report, { binder, kept }: Collector): Promise<void> {
  const answers = () => kept.get('ri.payments') ?? []
  const { id } = await binder.send(rabbitOrders, { n: 1 })
  await report.check(
    'two Spring services answer one message: both come',
    [1, 2],
    () =>
      answers()
        .map((each) => (each.payload as { readonly by: number }).by)
        .toSorted((a, b) => a - b),
    () => answers().length === 2,
  )
  await report.check('with ids of their own, so that an inbox takes both', [2, false], () => [
    new Set(answers().map((each) => each.id)).size,
    answers().some((each) => each.id === id),
  ])
  await report.check('without the source and the key of the question', [false, [null, null]], () => [
    answers().some((each) => each.source === 'interop'),
    answers().map((each) => each.key),
  ])
}

/** Channels for what Spring sends in other forms. */
export async function collectForms(url: string) {
  const handled: unknown[] = []
  const gzip = defineChannel('ri.rgzip', { payload: z.unknown(), partitions: 1, codec: jsonCodec })
  const batch = defineChannel('ri.rbatched', { payload: z.unknown(), partitions: 1, codec: bytesCodec })
  const bindings = [
    sink(gzip, { group: 'g' }, (payload) => void handled.push(payload)),
    sink(batch, { group: 'g' }, (payload) => void handled.push(String(payload))),
  ]
  const binder = createBinder({ service: 'forms', transport: rabbitTransport({ url }), bindings })
  await binder.start()
  await binder.ready()
  return { binder, handled, url }
}

type Forms = Awaited<ReturnType<typeof collectForms>>

export async function formCases(report: Report, spring: Spring, { binder, handled, url }: Forms): Promise<void> {
  spring.send('rgzip', '-', '-', '{"n":"grün"}')
  await report.check(
    'a body that Spring compressed is read',
    [{ n: 'grün' }],
    () => handled,
    () => handled.length > 0,
  )
  handled.length = 0
  for (const n of [1, 2, 3]) spring.send('rbatched', '-', '-', `{"n":${n}}`)
  const letters = () => binder.binding('ri.rbatched.g').status().deadLettered
  await report.check(
    "a batch of Spring's producer is one dead letter that names the setting, and no handler gets it",
    [1, true, []],
    async () => [
      letters(),
      (await errorIn(url, 'ri.rbatched.g.dlq:redrive')).includes('producer.batching-enabled'),
      handled,
    ],
    () => letters() > 0,
  )
}

/** Takes over the queue of the Spring application, which has stopped: `places`, as docs/migrating/from-spring-cloud-stream.md says. */
export async function takeOverQueue(report: Report, spring: Spring, url: string): Promise<void> {
  const connection = await connect(url)
  const sender = await connection.createConfirmChannel()
  const send = (n: number): boolean =>
    sender.publish('ri.taken', 'ri.taken', Buffer.from(`{"n":${n}}`), { contentType: 'application/json' })
  for (const n of [1, 2]) send(n)
  await sender.waitForConfirms()
  const handled: unknown[] = []
  const taken = defineChannel('ri.taken', { payload: z.unknown(), partitions: 1 })
  const place = { exchange: 'ri.taken', type: 'topic', routingKey: 'ri.taken' } as const
  const queues = { billing: { queue: 'ri.taken.billing', ordered: false } }
  const binder = createBinder({
    service: 'successor',
    transport: rabbitTransport({ url, places: { 'ri.taken': { ...place, queues } } }),
    bindings: [sink(taken, { group: 'billing' }, (payload) => void handled.push(payload))],
  })
  await binder.start()
  await binder.ready()
  send(3)
  await report.check(
    "Spring's RabbitMQ queue goes on with what waits in it and what is new",
    [[{ n: 1 }, { n: 2 }, { n: 3 }], 0],
    () => [handled, spring.got.filter((each) => each.function === 'rtaken').length],
    () => handled.length >= 3,
  )
  await binder.close()
  await connection.close()
}

/** Error in the first dead letter of a queue. */
async function errorIn(url: string, queue: string): Promise<string> {
  const connection = await connect(url)
  try {
    const channel = await connection.createChannel()
    const letter = await channel.get(queue, { noAck: true })
    return letter === false ? 'none' : String(letter.properties.headers?.['dead-letter-error-message'])
  } finally {
    await connection.close()
  }
}
