import { context, SpanKind, trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import { createBinder } from 'concordat/binder'
import type { SqlClient, SqlTransaction, Telemetry } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, Refusal, type Saga, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { type Recording, record, traceIdOf } from '../../support/tracing.ts'
import { until } from '../../support/until.ts'
import { closeEmbedded, embedded, FAST, openEmbedded, stockCommands } from '../support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

/** A client of a process that can be killed: from then on nothing it asks for is answered. */
class KillableClient implements SqlClient {
  dead = false

  query: SqlClient['query'] = async (text, parameters) => {
    this.#requireAlive()
    return embedded().query(text, parameters)
  }

  async transaction<T>(work: (tx: SqlTransaction) => Promise<T>): Promise<T> {
    this.#requireAlive()
    return embedded().transaction(async (tx) => {
      const result = await work(tx)
      this.#requireAlive()
      return result
    })
  }

  #requireAlive(): void {
    if (this.dead) throw new Error('killed')
  }
}

let worlds = 0

/** Coordinators of one service as processes, a participant in another, and the relays of both. */
async function setup(sagas: readonly Saga<unknown, unknown, object>[], telemetry: Telemetry | undefined) {
  const [schema, stockSchema] = [`traced_orders_${++worlds}`, `traced_stock_${worlds}`]
  const broker = memoryBroker()
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'orders', schema, partitions: 1, telemetry })
  const stockOutbox = createOutbox({ sql, service: 'stock', schema: stockSchema, partitions: 1, telemetry })
  const calls: string[] = []
  const side = participant(
    stockCommands,
    { group: 'stock', sql, outbox: stockOutbox, schema: stockSchema, backoff: FAST, telemetry },
    { invoke: () => void calls.push('charge'), compensate: () => void calls.push('refund') },
  )
  const boot = (client: SqlClient, bindsReplies: boolean) => {
    const coordinator = createCoordinator({
      service: 'orders',
      sql: client,
      outbox,
      schema,
      sagas,
      telemetry,
      leaseMs: 300,
      pollMs: 20,
      drainTimeoutMs: 0,
    })
    const bindings = bindsReplies ? coordinator.bindings : []
    const transport = memoryTransport({ broker })
    const binder = createBinder({
      service: 'orders',
      transport,
      bindings,
      sends: coordinator.channels,
      telemetry,
      drainTimeoutMs: 0,
    })
    return { coordinator, binder }
  }
  const first = boot(new KillableClient(), false)
  const stock = createBinder({
    service: 'stock',
    transport: memoryTransport({ broker }),
    bindings: [side],
    sends: [sagaReplies('orders')],
    telemetry,
  })
  await outbox.migrate()
  await stockOutbox.migrate()
  await first.coordinator.migrate()
  await migrateParticipant(sql, stockSchema)
  const relays = [
    createRelay({ outbox, publisher: first.binder, idlePollMs: 10, telemetry }),
    createRelay({ outbox: stockOutbox, publisher: stock, idlePollMs: 10, telemetry }),
  ]
  await Promise.all([stock.start(), first.binder.start()])
  for (const relay of relays) await relay.start()
  onTestFinished(async () => {
    for (const relay of relays) await relay.close()
    await Promise.all([stock.close(), first.binder.close()])
  })
  const run = async (client: SqlClient) => {
    const { coordinator, binder } = boot(client, true)
    onTestFinished(async () => void (await Promise.all([binder.close(), coordinator.close()])))
    await binder.start()
    await coordinator.run()
    return { coordinator, end: async () => void (await Promise.all([binder.close(), coordinator.close()])) }
  }
  return { run, calls, schema }
}

const within = { timeoutMs: 25_000 }

/** Spans that a person who opens the trace would see. */
function inTrace(recording: Recording, traceId: string): readonly ReadableSpan[] {
  return recording.spans().filter((span) => traceIdOf(span) === traceId)
}

test('a saga is one trace from its start to its last compensation, over commands, participant and the crash of its coordinator', async () => {
  const recording = record()
  const doomed = new KillableClient()
  const order = defineSaga('order', { version: 1, input: z.object({ n: z.number() }) })
    .step('reserve', { invoke: () => 'reserved', compensate: () => {} })
    .command('charge', { to: stockCommands, request: () => ({ sku: 'a', n: 1 }), compensate: true })
    .step('confirm', {
      invoke: () => {
        if (doomed.dead) throw new Refusal('order.no', 'no')
        doomed.dead = true
        return new Promise(() => {})
      },
      compensate: 'none',
    })
  const { run, calls } = await setup([order], recording.telemetry)
  const first = await run(doomed)
  const request = recording.provider.getTracer('test').startSpan('request')
  await context.with(trace.setSpan(context.active(), request), () =>
    first.coordinator.start(order, { id: 'o-1', input: { n: 1 } }),
  )
  await until('the coordinator dies', () => doomed.dead)
  await first.end()
  const second = await run(embedded())
  expect(await second.coordinator.get(order, 'o-1').outcome(within)).toMatchObject({ status: 'compensated' })
  await until('the last span ends', () => recording.named('compensated order/reserve').length === 1)
  expect(calls).toEqual(['charge', 'refund'])
  const { traceId } = request.spanContext()
  const names = inTrace(recording, traceId).map(({ name }) => name)
  for (const name of [
    'start order',
    'invoke order/reserve',
    'create stock.commands',
    'process stock.commands',
    'invoke order/charge',
    'create orders.saga-replies',
    'process orders.saga-replies',
    'reply order/charge',
    'take over order',
    'invoke order/confirm',
    'compensating order/confirm',
    'compensate order/charge',
    'compensate order/reserve',
    'compensated order/reserve',
  ]) {
    expect(names).toContain(name)
  }
  const rest = recording.spans().filter((span) => traceIdOf(span) !== traceId)
  for (const span of rest) {
    expect({ name: span.name, kind: span.kind }).toEqual({
      name: expect.stringMatching(/^send/),
      kind: SpanKind.CLIENT,
    })
    expect(span.links.map((link) => link.context.traceId)).toEqual(span.links.map(() => traceId))
  }
  const [start] = recording.named('start order')
  const [call] = recording.named('invoke order/reserve')
  expect(start?.parentSpanContext?.spanId).toBe(request.spanContext().spanId)
  expect(call?.parentSpanContext?.spanId).toBe(start?.spanContext().spanId)
  expect(call?.attributes).toEqual({
    'concordat.saga.name': 'order',
    'concordat.saga.id': 'o-1',
    'concordat.saga.version': 1,
    'concordat.saga.step': 'reserve',
    'concordat.saga.operation': 'invoke',
    'concordat.saga.attempt': 1,
    'concordat.saga.epoch': 1,
  })
  const errors = recording.named('invoke order/confirm').map(({ attributes }) => attributes['error.type'])
  expect(errors).toContain('order.no')
  const [commands] = recording.named('create stock.commands')
  expect(commands?.attributes).toMatchObject({ 'concordat.saga.id': 'o-1', 'concordat.saga.step': 'charge' })
  const [handled] = recording.named('process stock.commands')
  expect(handled?.parentSpanContext?.spanId).toBe(commands?.spanContext().spanId)
})

test('a signal, a timer and a saga as a step are in the trace; who signalled from another one is linked', async () => {
  const recording = record()
  const ship = defineSaga('ship', { version: 1, input: z.object({}) }).step('pack', {
    invoke: () => {},
    compensate: 'none',
  })
  const order = defineSaga('wait', { version: 1, input: z.object({}) })
    .timer('pause', { delay: 1 })
    .signal('approve', { payload: z.string() })
    .saga('shipment', { saga: ship, input: () => ({}), compensate: 'none' })
  const { run } = await setup([order], recording.telemetry)
  const { coordinator } = await run(embedded())
  const started = await coordinator.start(order, { id: 'o-2', input: {} })
  const clerk = recording.provider.getTracer('test').startSpan('clerk')
  await context.with(trace.setSpan(context.active(), clerk), () => coordinator.signal(order, 'o-2', 'approve', 'yes'))
  expect(await started.outcome(within)).toMatchObject({ status: 'completed' })
  await until('the last span ends', () =>
    recording
      .spans()
      .some(
        ({ attributes }) =>
          attributes['concordat.saga.name'] === 'wait' && attributes['concordat.saga.status'] === 'completed',
      ),
  )
  const [start] = recording.named('start wait')
  const names = inTrace(recording, traceIdOf(start) ?? '').map(({ name }) => name)
  for (const name of ['timer wait', 'signal wait/approve', 'begin ship', 'invoke ship/pack', 'reply wait/shipment']) {
    expect(names).toContain(name)
  }
  const [signal] = recording.named('signal wait/approve')
  expect(signal?.links.map((link) => link.context.spanId)).toEqual([clerk.spanContext().spanId])
})

test('the metrics of sagas have no ids', async () => {
  const recording = record()
  const order = defineSaga('counted', { version: 1, input: z.object({ refuse: z.boolean() }) })
    .step('a', { invoke: () => {}, compensate: () => {} })
    .step('b', {
      invoke: ({ input }) => {
        if (input.refuse) throw new Refusal('counted.no', 'no')
      },
      compensate: 'none',
    })
  const { run } = await setup([order], recording.telemetry)
  const { coordinator } = await run(embedded())
  for (const [id, refuse] of [
    ['1', false],
    ['2', false],
    ['3', true],
  ] as const) {
    await (await coordinator.start(order, { id, input: { refuse } })).outcome(within)
  }
  const name = { 'concordat.saga.name': 'counted' }
  const ends = [
    { value: 2, attributes: { ...name, 'concordat.saga.status': 'completed' } },
    { value: 1, attributes: { ...name, 'concordat.saga.status': 'compensated' } },
  ]
  expect(await recording.metric('concordat.saga.started')).toEqual([{ value: 3, attributes: name }])
  expect(await recording.metric('concordat.saga.ended')).toEqual(ends)
  expect(await recording.metric('concordat.saga.duration')).toEqual(ends)
  const call = { ...name, 'concordat.saga.operation': 'invoke' }
  expect(await recording.metric('concordat.saga.step.duration')).toEqual([
    { value: 3, attributes: { ...call, 'concordat.saga.step': 'a' } },
    { value: 2, attributes: { ...call, 'concordat.saga.step': 'b' } },
    { value: 1, attributes: { ...call, 'concordat.saga.step': 'b', 'error.type': 'counted.no' } },
    { value: 1, attributes: { ...name, 'concordat.saga.operation': 'compensate', 'concordat.saga.step': 'a' } },
  ])
  expect(await recording.metric('concordat.saga.in_hand')).toEqual([{ value: expect.any(Number), attributes: {} }])
})

test('without telemetry nothing is kept with the saga, and its commands carry no trace', async () => {
  record()
  const order = defineSaga('silent', { version: 1, input: z.object({}) }).command('charge', {
    to: stockCommands,
    request: () => ({ sku: 'a', n: 1 }),
    compensate: true,
  })
  const { run, schema } = await setup([order], undefined)
  const { coordinator } = await run(embedded())
  await (await coordinator.start(order, { id: 'o-3', input: {} })).outcome(within)
  expect((await embedded().query(`SELECT trace FROM ${schema}.saga`)).rows).toEqual([{ trace: null }])
})
