import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import {
  type Binding,
  combineTransports,
  createBinder,
  deadLetterName,
  defineChannel,
  encodeMessage,
  type Headers,
  processor,
  several,
  sink,
  source,
} from 'concordat/binder'
import { type Logger, silentLogger, type Telemetry } from 'concordat/core'
import { openTelemetry } from 'concordat/core/opentelemetry'
import type { Transport } from 'concordat/extension'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { readTraceContext } from '../../support/inside/core.ts'
import { isChildOf, type Recording, record, traceIdOf } from '../../support/tracing.ts'
import { until } from '../../support/until.ts'

const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), partitions: 1 })
const parts = defineChannel('parts', { payload: z.object({ n: z.number() }), partitions: 1 })

async function start(recording: Recording | undefined, bindings: readonly Binding[], logger: Logger = silentLogger) {
  const transport = memoryTransport()
  const telemetry = recording?.telemetry
  const binder = createBinder({ service: 'shop', transport, bindings, telemetry, logger, sends: [orders, parts] })
  onTestFinished(() => binder.close())
  await binder.start()
  return binder
}

/** Waits for the spans: a span ends after the work that it describes. */
function ended(recording: Recording, name: string, count = 1): Promise<void> {
  return until(`${count} times "${name}"`, () => recording.named(name).length >= count)
}

const once = { backoff: { initialMs: 1, maxMs: 1 } } as const

describe('the spans of a binder', () => {
  it('name the broker of a destination when there are several', async () => {
    const recording = record()
    const named = (name: string): Transport => {
      const transport = memoryTransport()
      return new Proxy(transport, {
        get: (target, property) => {
          if (property === 'name') return name
          const value: unknown = Reflect.get(target, property)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    }
    const transports = { left: named('kafka'), right: named('rabbitmq') }
    const transport = combineTransports({ transports, of: { orders: 'left', parts: 'right' } })
    const bindings = [processor(orders, parts, { group: 'split' }, (order) => order)]
    const { telemetry } = recording
    await using binder = createBinder({ service: 'shop', transport, bindings, telemetry })
    await binder.start()
    await binder.send(orders, { n: 1 })
    await ended(recording, 'send parts')
    const systems = ['send orders', 'process orders', 'send parts'].map(
      (name) => recording.named(name)[0]?.attributes['messaging.system'],
    )
    expect(systems).toEqual(['kafka', 'kafka', 'rabbitmq'])
  })

  it('are one trace over a send, its handler, the output and the handler of that', async () => {
    const recording = record()
    const seen: Array<string | undefined> = []
    const binder = await start(recording, [
      processor(orders, parts, { group: 'split' }, ({ n }) => {
        seen.push(trace.getActiveSpan()?.spanContext().spanId)
        return several([{ n }, { n: n + 1 }])
      }),
      sink(parts, { group: 'stock' }, async () => {
        await Promise.resolve()
        seen.push(trace.getActiveSpan()?.spanContext().spanId)
      }),
    ])
    const request = recording.provider.getTracer('test').startSpan('request')
    const { id } = await context.with(trace.setSpan(context.active(), request), () => binder.send(orders, { n: 1 }))
    await ended(recording, 'process parts', 2)
    await ended(recording, 'send parts')
    const [send] = recording.named('send orders')
    const [process] = recording.named('process orders')
    const [output] = recording.named('send parts')
    const last = recording.named('process parts')
    expect(send?.parentSpanContext?.spanId).toBe(request.spanContext().spanId)
    expect(isChildOf(process, send)).toBe(true)
    expect(isChildOf(output, process)).toBe(true)
    expect(last.map((span) => isChildOf(span, output))).toEqual([true, true])
    expect(new Set(recording.spans().map(traceIdOf))).toEqual(new Set([request.spanContext().traceId]))
    expect(seen).toEqual([process, ...last].map((span) => span?.spanContext().spanId))
    expect(send?.kind).toBe(SpanKind.PRODUCER)
    expect(send?.attributes).toEqual({
      'messaging.system': 'memory',
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'orders',
      'messaging.message.id': id,
    })
    expect(process?.kind).toBe(SpanKind.CONSUMER)
    expect(process?.attributes).toEqual({
      'messaging.system': 'memory',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'orders',
      'messaging.destination.partition.id': '0',
      'messaging.consumer.group.name': 'split',
      'messaging.message.id': id,
      'concordat.attempt': 1,
    })
    expect(output?.attributes).toMatchObject({ 'messaging.batch.message_count': 2 })
  })

  it('begin a trace for each message sent outside of one, also by a source', async () => {
    const recording = record()
    let polls = 0
    const binder = await start(recording, [
      source(parts, { everyMs: 1_000_000 }, () => (polls++ === 0 ? { n: 0 } : undefined)),
      sink(parts, { group: 'stock' }, () => {}),
      sink(orders, { group: 'g' }, () => {}),
    ])
    await binder.sendBatch(orders, [{ n: 1 }, { n: 2 }])
    await ended(recording, 'process orders', 2)
    await ended(recording, 'process parts')
    const [batch] = recording.named('send orders')
    expect(batch?.attributes).toMatchObject({ 'messaging.batch.message_count': 2 })
    expect(recording.named('process orders').map((span) => isChildOf(span, batch))).toEqual([true, true])
    const [polled] = recording.named('send parts')
    expect(polled?.parentSpanContext).toBeUndefined()
    expect(isChildOf(recording.named('process parts')[0], polled)).toBe(true)
    expect(traceIdOf(polled)).not.toBe(traceIdOf(batch))
  })

  it('are one per attempt, with its error, and a dead letter keeps the headers and stays in the trace', async () => {
    const recording = record()
    const letters: Headers[] = []
    const dead = defineChannel(deadLetterName('orders', 'g'), { payload: z.unknown(), partitions: 1 })
    let sent: Headers = {}
    const binder = await start(recording, [
      sink(orders, { group: 'g', maxAttempts: 2, ...once }, (_, message) => {
        sent = message.headers
        throw Object.assign(new Error('no stock'), { code: 'shop.no_stock' })
      }),
      sink(dead, { group: 'watch' }, (_, message) => void letters.push(message.headers)),
    ])
    await binder.send(orders, { n: 1 })
    await ended(recording, `process ${dead.name}`)
    const attempts = recording.named('process orders')
    const [send] = recording.named('send orders')
    expect(attempts.map(({ attributes }) => attributes['concordat.attempt'])).toEqual([1, 2])
    for (const span of attempts) {
      expect(isChildOf(span, send)).toBe(true)
      expect(span.status).toEqual({ code: SpanStatusCode.ERROR, message: 'no stock' })
      expect(span.attributes['error.type']).toBe('shop.no_stock')
    }
    const [letter] = recording.named(`send ${dead.name}`)
    expect(letter?.kind).toBe(SpanKind.CLIENT)
    expect(new Set(recording.spans().map(traceIdOf)).size).toBe(1)
    expect(letters[0]?.['traceparent']).toBe(sent['traceparent'])
    expect(readTraceContext(letters[0] ?? {})?.spanId).toBe(send?.spanContext().spanId)
  })

  it('leave a dead letter without a traceparent unchanged', async () => {
    const recording = record()
    const transport = memoryTransport({ broker: memoryBroker() })
    const letters: Headers[] = []
    const dead = defineChannel(deadLetterName('orders', 'g'), { payload: z.unknown(), partitions: 1 })
    const binder = createBinder({
      service: 'shop',
      transport,
      telemetry: recording.telemetry,
      bindings: [
        sink(orders, { group: 'g', maxAttempts: 1 }, () => {
          throw new Error('no')
        }),
        sink(dead, { group: 'watch' }, (_, message) => void letters.push(message.headers)),
      ],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await transport.publish([await encodeMessage(orders, { n: 1 }, 'elsewhere')])
    await until('it is dead', () => letters.length === 1)
    expect(letters[0]).not.toHaveProperty('traceparent')
  })

  it('include a payload that no handler gets', async () => {
    const recording = record()
    const loose = defineChannel('orders', { payload: z.unknown(), partitions: 1 })
    const binder = await start(recording, [sink(orders, { group: 'g' }, () => {})])
    await binder.send(loose, { n: 'one' })
    await ended(recording, 'process orders')
    expect(recording.named('process orders')[0]?.attributes['error.type']).toBe('core.schema')
  })

  it('leave a traceparent given by hand alone and link to it', async () => {
    const recording = record()
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const binder = await start(recording, [sink(orders, { group: 'g' }, () => {})])
    await binder.send(orders, { n: 1 }, { headers: { traceparent, tracestate: 'vendor=1' } })
    await ended(recording, 'process orders')
    const [process] = recording.named('process orders')
    expect(process?.parentSpanContext).toMatchObject({ traceId: traceparent.slice(3, 35), spanId: '00f067aa0ba902b7' })
    expect(process?.parentSpanContext?.traceState?.serialize()).toBe('vendor=1')
    const [send] = recording.named('send orders')
    expect(send?.kind).toBe(SpanKind.CLIENT)
    expect(send?.links[0]?.context.spanId).toBe('00f067aa0ba902b7')
  })

  it.each([
    ['uppercase', '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01'],
    ['zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['version ff', 'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
    ['10 kB', 'x'.repeat(10_000)],
    ['a number', 7],
    ['bytes', new Uint8Array([1, 2, 3])],
    ['null', null],
  ])('begin anew after a malformed traceparent (%s), and the message is handled', async (_, traceparent) => {
    const recording = record()
    const heard: number[] = []
    const binder = await start(recording, [sink(orders, { group: 'g' }, ({ n }) => void heard.push(n))])
    await binder.send(orders, { n: 1 }, { headers: { traceparent, tracestate: 'a=1' } })
    await ended(recording, 'process orders')
    const [process] = recording.named('process orders')
    expect(heard).toEqual([1])
    expect(process?.parentSpanContext).toBeUndefined()
    expect(process?.spanContext().traceState).toBeUndefined()
  })
})

describe('without telemetry', () => {
  it('a message carries no header', async () => {
    record()
    const heard: Headers[] = []
    const binder = await start(undefined, [
      processor(orders, parts, { group: 'g' }, (order) => order),
      sink(parts, { group: 'g' }, (__, message) => void heard.push(message.headers)),
    ])
    await binder.send(orders, { n: 1 })
    await until('it came', () => heard.length === 1)
    expect(heard).toEqual([{}])
  })

  it('a tracer that is not registered leaves no trace headers', async () => {
    const heard: Headers[] = []
    const binder = createBinder({
      service: 'shop',
      transport: memoryTransport(),
      bindings: [sink(orders, { group: 'g' }, (_, message) => void heard.push(message.headers))],
      telemetry: openTelemetry(),
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await binder.send(orders, { n: 1 })
    await until('it came', () => heard.length === 1)
    expect(heard).toEqual([{}])
  })
})

describe('the metrics of a binder', () => {
  it('count sent and handled messages, without ids', async () => {
    const recording = record()
    const binder = await start(recording, [
      sink(orders, { group: 'g', maxAttempts: 2, ...once }, ({ n }) => {
        if (n === 2) throw new Error('no')
      }),
    ])
    await binder.sendBatch(orders, [{ n: 1 }, { n: 2 }, { n: 3 }])
    await until('all are settled', () => {
      const [status] = binder.bindings()
      return status?.handled === 2 && status.deadLettered === 1
    })
    const place = { 'messaging.system': 'memory', 'messaging.destination.name': 'orders' }
    const group = { 'messaging.consumer.group.name': 'g' }
    const send = { 'messaging.operation.name': 'send', 'messaging.operation.type': 'send' }
    const process = { 'messaging.operation.name': 'process', 'messaging.operation.type': 'process' }
    const sent = await recording.metric('messaging.client.sent.messages')
    expect(sent).toContainEqual({ value: 3, attributes: { ...place, ...send } })
    expect(sent).toContainEqual({
      value: 1,
      attributes: { ...place, ...send, 'messaging.destination.name': 'orders.g.dlq' },
    })
    expect(await recording.metric('messaging.client.operation.duration')).toEqual(sent)
    expect(await recording.metric('messaging.process.duration')).toEqual([
      { value: 2, attributes: { ...place, ...group, ...process } },
      { value: 2, attributes: { ...place, ...group, ...process, 'error.type': 'Error' } },
    ])
    expect(await recording.metric('messaging.client.consumed.messages')).toEqual([
      { value: 3, attributes: { ...place, ...group, 'messaging.operation.name': 'process' } },
    ])
    expect(await recording.metric('concordat.binding.settled')).toEqual([
      { value: 2, attributes: { ...place, ...group, 'concordat.outcome': 'handled' } },
      { value: 1, attributes: { ...place, ...group, 'concordat.outcome': 'dead-lettered' } },
    ])
    expect(await recording.metric('concordat.binding.lag')).toEqual([{ value: 0, attributes: { ...place, ...group } }])
    expect(await recording.metric('concordat.binding.dead_letters')).toEqual([
      { value: 1, attributes: { ...place, ...group } },
    ])
    expect(await recording.metric('concordat.binding.in_flight')).toEqual([
      { value: 0, attributes: { ...place, ...group, 'concordat.state': 'running' } },
      { value: 0, attributes: { ...place, ...group, 'concordat.state': 'queued' } },
    ])
  })

  it('show halted bindings, and open circuits', async () => {
    const recording = record()
    const fails = (): void => {
      throw new Error('no')
    }
    const binder = await start(recording, [
      sink(orders, { group: 'halts', maxAttempts: 1, onFailure: 'halt' }, fails),
      sink(orders, { group: 'waits', maxAttempts: 1, circuitBreaker: { failures: 1, pauseMs: 60_000 } }, fails),
    ])
    const values = async (name: string): Promise<object> =>
      Object.fromEntries(
        (await recording.metric(name)).map(({ value, attributes }) => [
          attributes['messaging.consumer.group.name'],
          value,
        ]),
      )
    expect(await values('concordat.binding.up')).toEqual({ halts: 1, waits: 1 })
    expect(await values('concordat.binding.circuit_open')).toEqual({ waits: 0 })
    await binder.send(orders, { n: 1 })
    await until('both gave up', () => {
      const [halts, waits] = binder.bindings()
      return halts?.state === 'halted' && waits?.circuit === 'open'
    })
    expect(await values('concordat.binding.up')).toEqual({ halts: 0, waits: 1 })
    expect(await values('concordat.binding.circuit_open')).toEqual({ waits: 1 })
  })

  it('show a handler call that has run for too long', async () => {
    const recording = record()
    const hanging = Promise.withResolvers<void>()
    const binder = await start(recording, [sink(orders, { group: 'hangs', slowAfterMs: 1 }, () => hanging.promise)])
    const values = async (): Promise<readonly number[]> =>
      (await recording.metric('concordat.binding.slow')).map(({ value }) => value)
    expect(await values()).toEqual([0])
    await binder.send(orders, { n: 1 })
    await until('it is slow', () => binder.bindings()[0]?.isSlow === true)
    expect(await values()).toEqual([1])
    expect(await recording.metric('concordat.process.blocked')).toEqual([{ value: expect.any(Number), attributes: {} }])
    hanging.resolve()
  })

  it('are read no more once the binder is closed', async () => {
    const recording = record()
    let reads = 0
    const telemetry: Telemetry = {
      span: (name, options) => recording.telemetry.span(name, options),
      active: () => recording.telemetry.active(),
      counter: (instrument) => recording.telemetry.counter(instrument),
      histogram: (instrument) => recording.telemetry.histogram(instrument),
      gauges: (instruments, read) => recording.telemetry.gauges(instruments, () => (reads++, read())),
    }
    const binder = await start({ ...recording, telemetry }, [sink(orders, { group: 'g' }, () => {})])
    await recording.metric('concordat.binding.in_flight')
    expect(reads).toBe(5)
    await binder.close()
    await recording.metric('concordat.binding.in_flight')
    expect(reads).toBe(5)
  })
})

describe('log lines', () => {
  it('name the trace, and hold no payload', async () => {
    const recording = record()
    const lines: Array<Readonly<Record<string, unknown>>> = []
    const keep = (fields: Readonly<Record<string, unknown>>, message: string) => void lines.push({ ...fields, message })
    const logger: Logger = { debug: keep, info: keep, warn: keep, error: keep }
    const loose = defineChannel('orders', { payload: z.unknown(), partitions: 1 })
    const binder = await start(
      recording,
      [
        sink(orders, { group: 'g', maxAttempts: 2, ...once }, (_, { log }) => {
          log.info('in the handler')
          throw new Error('no')
        }),
      ],
      logger,
    )
    await binder.send(orders, { n: 1, secret: 'tulip' } as never)
    await binder.send(loose, { n: 'tulip' })
    await until('both are dead', () => binder.bindings()[0]?.deadLettered === 2)
    const [send] = recording.named('send orders')
    const attempts = recording.named('process orders')
    const inHandler = lines.filter(({ message }) => message === 'in the handler')
    expect(inHandler.map((line) => line['span_id'])).toEqual(
      attempts.slice(0, 2).map((span) => span.spanContext().spanId),
    )
    for (const what of ['handler failed, will be tried again', 'message failed for good']) {
      expect(lines.find(({ message }) => message === what)).toMatchObject({ trace_id: traceIdOf(send) })
    }
    expect(
      JSON.stringify(lines, (_, value) => (value instanceof Error ? [value.message, value.stack] : value)),
    ).not.toContain('tulip')
  })
})
