import { randomUUID } from 'node:crypto'
import { createBinder, defineChannel, type Headers, processor, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { isChildOf, record, traceIdOf } from '../../support/tracing.ts'
import { until } from '../../support/until.ts'

async function travels(system: string, transport: Transport): Promise<void> {
  const recording = record()
  const name = `tele-${randomUUID().slice(0, 8)}`
  const orders = defineChannel(name, { payload: z.number(), partitions: 1, groups: ['g'] })
  const parts = defineChannel(`${name}.parts`, { payload: z.number(), partitions: 1, groups: ['g'] })
  const headers: Headers[] = []
  const binder = createBinder({
    service: 'shop',
    transport,
    telemetry: recording.telemetry,
    bindings: [
      processor(orders, parts, { group: 'g' }, (n) => n),
      sink(parts, { group: 'g' }, (_, message) => void headers.push(message.headers)),
    ],
  })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.ready()
  await binder.send(orders, 1)
  await until('the last handler is done', () => recording.named(`process ${parts.name}`).length > 0)
  await until('the output is confirmed', () => recording.named(`send ${parts.name}`).length > 0)
  const [send, process] = [recording.named(`send ${name}`)[0], recording.named(`process ${name}`)[0]]
  const [output, last] = [recording.named(`send ${parts.name}`)[0], recording.named(`process ${parts.name}`)[0]]
  expect(isChildOf(process, send)).toBe(true)
  expect(isChildOf(output, process)).toBe(true)
  expect(isChildOf(last, output)).toBe(true)
  expect(last?.parentSpanContext?.isRemote).toBe(true)
  expect(new Set(recording.spans().map(traceIdOf)).size).toBe(1)
  expect(recording.spans().map(({ attributes }) => attributes['messaging.system'])).toEqual(
    recording.spans().map(() => system),
  )
  const parent = `00-${traceIdOf(output)}-${output?.spanContext().spanId}-01`
  // A broker may hand a message out again.
  expect(headers).toContainEqual({ traceparent: parent })
}

describeWith(['kafka', 'rabbitmq'], 'a trace', () => {
  it('travels through Kafka', () => travels('kafka', kafkaOn(serverUrl('kafka') as string)))

  it('travels through RabbitMQ', () => travels('rabbitmq', rabbitTransport({ url: serverUrl('rabbitmq') as string })))
})
