import { createOutbox } from 'concordat/outbox'
import { createCoordinator, defineSaga } from 'concordat/saga'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { record, traceIdOf } from '../../support/tracing.ts'
import { createVersion3 } from '../support/tables-v3.ts'
import { closeEmbedded, embedded, openEmbedded } from '../support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

const order = defineSaga('order', { version: 1, input: z.object({ n: z.number() }) })
  .step('a', { invoke: () => 'done', compensate: 'none' })
  .step('b', { invoke: () => 'done too', compensate: 'none' })

test('a saga of older tables goes on after migrate(), and new ones keep their trace', async () => {
  const recording = record()
  const sql = embedded()
  const coordinatorOf = (schema: string) => {
    const outbox = createOutbox({ sql, service: 'orders', schema })
    const { telemetry } = recording
    const coordinator = createCoordinator({
      service: 'orders',
      sql,
      outbox,
      schema,
      sagas: [order],
      telemetry,
      pollMs: 20,
    })
    onTestFinished(() => coordinator.close())
    return coordinator
  }
  // What an older process wrote: the first write of a saga, by the older function.
  const now = coordinatorOf('upgrade_now')
  await now.migrate()
  await now.start(order, { id: 'old', input: { n: 1 } })
  await createVersion3(sql, 'upgrade_old')
  await sql.query(
    `SELECT upgrade_old.saga_write(jsonb_build_array(jsonb_build_object('n', 0, 'name', name, 'id', id, 'version', version,
       'graph_hash', graph_hash, 'status', status, 'state', state, 'input', input, 'input_hash', input_hash,
       'revision', 1, 'epoch', 0, 'wake_ms', 0, 'heed', false, 'timeline', '[]'::jsonb))) FROM upgrade_now.saga`,
  )

  const coordinator = coordinatorOf('upgrade_old')
  await coordinator.migrate()
  await coordinator.migrate()
  await coordinator.run()
  const outcome = await coordinator.get(order, 'old').outcome({ timeoutMs: 25_000 })
  expect(outcome).toMatchObject({ status: 'completed', results: { a: 'done', b: 'done too' } })
  const calls = recording.named('invoke order/a')
  expect(calls.map(({ parentSpanContext }) => parentSpanContext)).toEqual([undefined])

  await (await coordinator.start(order, { id: 'new', input: { n: 2 } })).outcome({ timeoutMs: 25_000 })
  const start = recording.named('start order').at(-1)
  expect(traceIdOf(recording.named('invoke order/b').at(-1))).toBe(traceIdOf(start))
  const { rows } = await sql.query<{ id: string; trace: { traceparent: string } | null }>(
    'SELECT id, trace FROM upgrade_old.saga ORDER BY id',
  )
  expect(rows).toEqual([
    { id: 'new', trace: { traceparent: `00-${traceIdOf(start)}-${start?.spanContext().spanId}-01` } },
    { id: 'old', trace: null },
  ])
})
