import { createBinder, defineChannel, failed, processorBatch, produced, sink, TerminalError } from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { isChildOf, record, traceIdOf } from '../../support/tracing.ts'
import { until } from '../../support/until.ts'

const orders = defineChannel('orders', { payload: z.object({ n: z.number() }), partitions: 1, groups: ['g'] })
const parts = defineChannel('parts', { payload: z.object({ n: z.number() }), partitions: 1 })

describe('the span of a batch', () => {
  it('is linked to the spans of its messages, and contains its outputs and not its dead letters', async () => {
    const recording = record()
    const split = processorBatch(orders, parts, { group: 'g', batch: { maxSize: 3, maxWaitMs: 100 } }, (items) =>
      items.map(({ payload: { n } }) => (n === 1 ? failed(new TerminalError('no')) : produced({ n }))),
    )
    const { telemetry } = recording
    const bindings = [split, sink(parts, { group: 'stock' }, () => {})]
    const binder = createBinder({ service: 'shop', transport: memoryTransport(), bindings, telemetry, sends: [orders] })
    onTestFinished(() => binder.close())
    await binder.start()
    await Promise.all([0, 1, 2].map((n) => binder.send(orders, { n })))
    await until('all ended', () => recording.named('process parts').length === 2)
    await until('the letter was sent', () => recording.named('send orders.g.dlq').length === 1)
    const sends = recording.named('send orders')
    const [batch] = recording.named('process orders')
    expect(batch?.attributes).toMatchObject({ 'messaging.batch.message_count': 3 })
    expect(batch?.links.map(({ context }) => context.spanId).toSorted()).toEqual(
      sends.map((span) => span.spanContext().spanId).toSorted(),
    )
    expect(sends.map(traceIdOf)).not.toContain(traceIdOf(batch))
    const outputs = recording.named('send parts')
    expect(outputs.map((span) => isChildOf(span, batch))).toEqual([true, true])
    for (const handled of recording.named('process parts'))
      expect(outputs.filter((output) => isChildOf(handled, output))).toHaveLength(1)
    expect(isChildOf(recording.named('send orders.g.dlq')[0], sends[1])).toBe(true)
  })
})
