import { context, SpanKind, trace } from '@opentelemetry/api'
import { createBinder, defineChannel, type Headers, processor, sink } from 'concordat/binder'
import type { Telemetry } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { isChildOf, record, traceIdOf } from '../support/tracing.ts'
import { until } from '../support/until.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), partitions: 1 })
const parts = defineChannel('parts', { payload: z.object({ n: z.number() }), partitions: 1 })

let count = 0

async function setup(telemetry: Telemetry | undefined) {
  const sql = embedded()
  const schema = `traced_${++count}`
  const outbox = createOutbox({ sql, service: 'shop', schema, partitions: 1, telemetry })
  const inbox = createInbox({ sql, schema, outbox })
  await outbox.migrate()
  await inbox.migrate()
  const heard: Headers[] = []
  const binder = createBinder({
    service: 'shop',
    transport: memoryTransport(),
    telemetry,
    bindings: [
      processor(orders, parts, { group: 'split', inbox }, (order) => order),
      sink(parts, { group: 'stock', inbox }, (_, message) => void heard.push(message.headers)),
    ],
  })
  const relay = createRelay({ outbox, publisher: binder, idlePollMs: 10, telemetry })
  onTestFinished(async () => {
    await relay.close()
    await binder.close()
  })
  await binder.start()
  return { sql, outbox, relay, heard }
}

test('the trace of the sender continues in the handler of its message, and in that of the output', async () => {
  const recording = record()
  const { sql, outbox, relay } = await setup(recording.telemetry)
  const request = recording.provider.getTracer('test').startSpan('request')
  await context.with(trace.setSpan(context.active(), request), () =>
    sql.transaction((tx) => outbox.add(tx, orders, { n: 1 })),
  )
  // Any code may start the relay, within any span: that is not the trace of its messages.
  const boot = recording.provider.getTracer('test').startSpan('boot')
  await context.with(trace.setSpan(context.active(), boot), () => relay.start())
  await until('the last handler is done', () => recording.named('process parts').length === 1)
  await until('its message is confirmed', () => recording.named('send parts').length === 1)
  const [add] = recording.named('create orders')
  const [first] = recording.named('process orders')
  const [output] = recording.named('create parts')
  const [last] = recording.named('process parts')
  expect(add?.kind).toBe(SpanKind.PRODUCER)
  expect(add?.parentSpanContext?.spanId).toBe(request.spanContext().spanId)
  expect(add?.attributes).toMatchObject({
    'messaging.system': 'outbox',
    'messaging.operation.type': 'create',
    'messaging.destination.name': 'orders',
  })
  expect(isChildOf(first, add)).toBe(true)
  expect(isChildOf(output, first)).toBe(true)
  expect(isChildOf(last, output)).toBe(true)
  for (const [send, made] of [
    [recording.named('send orders')[0], add],
    [recording.named('send parts')[0], output],
  ]) {
    expect(send?.kind).toBe(SpanKind.CLIENT)
    expect(send?.parentSpanContext).toBeUndefined()
    expect(traceIdOf(send)).not.toBe(boot.spanContext().traceId)
    expect(send?.links.map((link) => link.context.spanId)).toEqual([made?.spanContext().spanId])
  }
})

test('an addition that fails is an error of its span', async () => {
  const recording = record()
  const { sql, outbox } = await setup(recording.telemetry)
  const large = defineChannel('large', { payload: z.string() })
  const add = sql.transaction((tx) => outbox.add(tx, large, 'x'.repeat(2 ** 21)))
  await expect(add).rejects.toMatchObject({ code: 'outbox.too_large' })
  expect(recording.named('create large')[0]?.attributes['error.type']).toBe('outbox.too_large')
})

test('a relay measures waiting and sent messages', async () => {
  const recording = record()
  const { sql, outbox, relay, heard } = await setup(recording.telemetry)
  await sql.transaction((tx) => outbox.add(tx, parts, { n: 1 }))
  await relay.start()
  await until('it came', () => heard.length === 1)
  await until('it is deleted', async () => (await outbox.stats()).pending === 0)
  await until('it is counted', () => relay.health().published === 1)
  const attributes = { 'concordat.outbox.schema': outbox.schema }
  for (const name of ['pending', 'oldest_age', 'blocked_keys', 'parked']) {
    expect(await recording.metric(`concordat.outbox.${name}`)).toEqual([{ value: 0, attributes }])
  }
  expect(await recording.metric('concordat.outbox.lag')).toEqual([{ value: 1, attributes }])
  expect(await recording.metric('concordat.outbox.relayed')).toEqual([
    { value: 1, attributes: { ...attributes, 'concordat.outcome': 'published' } },
  ])
})

test('without telemetry a stored message has no header', async () => {
  record()
  const { sql, outbox, relay, heard } = await setup(undefined)
  await sql.transaction((tx) => outbox.add(tx, orders, { n: 1 }))
  await relay.start()
  await until('it came', () => heard.length === 1)
  expect(heard).toEqual([{}])
})
