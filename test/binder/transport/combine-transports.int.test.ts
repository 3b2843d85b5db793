import { randomUUID } from 'node:crypto'
import {
  combineTransports,
  createBinder,
  defineChannel,
  processor,
  redrive,
  responder,
  sink,
  TerminalError,
} from 'concordat/binder'
import { kafkaTransport } from 'concordat/binder/kafka'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { client } from '../kafka/kit.ts'

/** Creates a setup with `<prefix>.alerts` on RabbitMQ and the rest on Kafka. */
function setup() {
  const prefix = `two-${randomUUID().slice(0, 8)}`
  const kafka = (): Transport => kafkaTransport({ kafka: client(serverUrl('kafka') as string) })
  const rabbit = (): Transport => rabbitTransport({ url: serverUrl('rabbitmq') })
  const both = (): Transport =>
    combineTransports({
      transports: { kafka: kafka(), rabbit: rabbit() },
      of: { [`${prefix}.alerts`]: 'rabbit' },
      default: 'kafka',
    })
  const clicks = defineChannel(`${prefix}.clicks`, { payload: z.number(), key: (n) => `k${n % 3}`, groups: ['watch'] })
  const alerts = defineChannel(`${prefix}.alerts`, { payload: z.number(), key: (n) => `k${n % 3}`, groups: ['pager'] })
  const replies = defineChannel(`${prefix}.alerts.replies`, { payload: z.string() })
  return { kafka, rabbit, both, clicks, alerts, replies }
}

describeWith(['kafka', 'rabbitmq'], 'Kafka and RabbitMQ in one binder', () => {
  it('carries messages from one to the other, in the order of its keys', { timeout: 60_000 }, async () => {
    const { kafka, rabbit, both, clicks, alerts } = setup()
    const paged: number[] = []
    const watch = processor(clicks, alerts, { group: 'watch', concurrency: 4 }, (n) => n)
    const binder = createBinder({ service: 'watch', transport: both(), bindings: [watch] })
    const web = createBinder({ service: 'web', transport: kafka(), sends: [clicks] })
    const pager = sink(alerts, { group: 'pager' }, (n) => void paged.push(n))
    const phone = createBinder({ service: 'phone', transport: rabbit(), bindings: [pager] })
    onTestFinished(async () => void (await Promise.all([binder.close(), web.close(), phone.close()])))
    await Promise.all([binder.start(), web.start(), phone.start()])
    await Promise.all([binder.ready(), phone.ready()])
    const count = 30
    await web.sendBatch(
      clicks,
      Array.from({ length: count }, (_, n) => n),
    )
    await until('all have crossed', () => new Set(paged).size === count)
    for (const key of [0, 1, 2]) {
      const ofKey = [...new Set(paged.filter((n) => n % 3 === key))]
      expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b))
    }
    expect(binder.health()).toMatchObject({ status: 'up', transport: { detail: 'kafka: up, rabbit: up' } })
  })

  it('keeps dead letters and replies on their channel’s broker', { timeout: 60_000 }, async () => {
    const { rabbit, both, alerts, replies } = setup()
    const answers = responder(alerts, replies, { group: 'pager' }, (n) => {
      if (n < 0) throw new TerminalError('nobody is below zero')
      return `paged ${n}`
    })
    const binder = createBinder({ service: 'phone', transport: both(), bindings: [answers], replies: [replies] })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.ready()
    expect(await binder.request(alerts, 7, { reply: replies })).toBe('paged 7')
    await binder.send(alerts, -1, { id: 'below' })
    await until('it is a dead letter', () => binder.binding(`${alerts.name}.pager`).status().deadLettered === 1)
    const { letters } = await redrive({ service: 'operator', transport: rabbit() }, alerts, 'pager', { dryRun: true })
    expect(letters.map(({ id, error }) => [id, error.message])).toEqual([['below', 'nobody is below zero']])
  })
})
