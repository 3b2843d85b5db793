import { context, createTraceState, trace } from '@opentelemetry/api'
import { createBinder } from 'concordat/binder'
import type { Telemetry } from 'concordat/core'
import { openTelemetry } from 'concordat/core/opentelemetry'
import { memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, participant } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { stockCommands } from '../saga/support/world.ts'
import { record } from '../support/tracing.ts'

const sql = { query: () => Promise.reject(new Error('unused')), transaction: () => Promise.reject(new Error('unused')) }
const outbox = createOutbox({ sql, service: 'shop' })
const saga = defineSaga('s', { version: 1, input: z.object({}) }).step('a', { invoke: () => {}, compensate: 'none' })
/** Simulates the usual mistake of passing the API's own tracer. */
const tracer = { startSpan: () => {} } as unknown as Telemetry
const handlers = { invoke: () => {}, compensate: () => {} }

describe('invalid telemetry is refused', () => {
  it.each([
    ['createBinder', () => createBinder({ service: 'shop', transport: memoryTransport(), telemetry: tracer })],
    ['createOutbox', () => createOutbox({ sql, service: 'shop', telemetry: tracer })],
    ['createRelay', () => createRelay({ outbox, publisher: { publish: async () => [] }, telemetry: tracer })],
    ['createCoordinator', () => createCoordinator({ service: 'shop', sql, outbox, sagas: [saga], telemetry: tracer })],
    [
      'participant("stock.commands")',
      () => participant(stockCommands, { group: 'g', sql, outbox, telemetry: tracer }, handlers),
    ],
  ])('by %s', (path, make) => {
    expect(make).toThrow(`${path}.telemetry: expected what openTelemetry() of concordat/core/opentelemetry returns`)
  })

  it.each([
    [{ tracerProvider: tracer }, 'openTelemetry.tracerProvider: expected a TracerProvider'],
    [{ meterProvider: tracer }, 'openTelemetry.meterProvider: expected a MeterProvider'],
    [{ provider: tracer }, 'openTelemetry.provider: expected one of tracerProvider, meterProvider'],
  ])('by openTelemetry: %o', (options, message) => {
    expect(() => openTelemetry(options as never)).toThrow(message)
  })
})

describe('openTelemetry', () => {
  it('passes on unsampled contexts as unsampled, and a tracestate unchanged', () => {
    const { telemetry } = record()
    const parent = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), sampled: false, state: 'vendor=1' }
    const span = telemetry.span('x', { kind: 'internal', parent })
    expect(span.context).toMatchObject({ traceId: parent.traceId, sampled: false, state: 'vendor=1' })
    span.end()
  })

  it('uses the span around the caller, over awaits, and none outside', async () => {
    const { telemetry } = record()
    const span = telemetry.span('x', { kind: 'internal', parent: 'none' })
    const seen = await span.run(async () => {
      await Promise.resolve()
      return [telemetry.active(), telemetry.span('y', { kind: 'internal', parent: 'active' }).context]
    })
    expect(seen[0]).toEqual(span.context)
    expect(seen[1]?.traceId).toBe(span.context?.traceId)
    expect(telemetry.active()).toBeUndefined()
    const remote = trace.setSpanContext(context.active(), {
      traceId: 'a'.repeat(32),
      spanId: 'b'.repeat(16),
      traceFlags: 1,
      traceState: createTraceState('vendor=1'),
    })
    expect(context.with(remote, () => telemetry.active())).toEqual({
      traceId: 'a'.repeat(32),
      spanId: 'b'.repeat(16),
      sampled: true,
      state: 'vendor=1',
    })
  })

  it('does not fail a collection because a reading does', async () => {
    const recording = record()
    const gauge = (name: string) => ({ name, unit: '1', description: '' })
    const { telemetry } = recording
    telemetry.gauges([gauge('bad')], () => Promise.reject(new Error('database away')))
    telemetry.gauges([gauge('good')], () => [{ name: 'good', value: 1 }])
    expect(await recording.metric('good')).toEqual([{ value: 1, attributes: {} }])
    expect(await recording.metric('bad')).toEqual([])
  })
})
