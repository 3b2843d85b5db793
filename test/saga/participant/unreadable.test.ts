import { createBinder, defineChannel, sink } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 120_000)
afterAll(() => database.close())

const loose = z.object({ sku: z.string(), n: z.number() })
/** The participant's release requires a field that the coordinator does not send. */
const strict = z.object({ sku: z.string(), n: z.number(), warehouse: z.string() })

async function setup(compensate: true | 'none') {
  const name = `strict${Math.random().toString(36).slice(2, 10)}`
  const sent = defineChannel(`${name}.commands`, { payload: loose })
  const read = defineChannel(`${name}.commands`, { payload: strict })
  const schema = `${name}_orders`
  const stockSchema = `${name}_stock`
  const handled: string[] = []
  const letters: string[] = []
  const saga = defineSaga('reserve', { version: 1, input: loose })
    .command('reserve', { to: sent, request: ({ input }) => input, compensate })
    .step('after', { invoke: () => undefined, compensate: 'none' })
  const outbox = createOutbox({ sql, service: name, schema })
  const stockOutbox = createOutbox({ sql, service: 'stock', schema: stockSchema })
  const coordinator = createCoordinator({ service: name, sql, outbox, schema, sagas: [saga], pollMs: 50 })
  await Promise.all([
    outbox.migrate(),
    stockOutbox.migrate(),
    coordinator.migrate(),
    migrateParticipant(sql, stockSchema),
  ])
  const broker = memoryBroker()
  const side = participant(
    read,
    { group: 'stock', sql, outbox: stockOutbox, schema: stockSchema },
    { invoke: () => void handled.push('invoke'), compensate: () => void handled.push('compensate') },
  )
  const dead = defineChannel(`${name}.commands.stock.dlq`, { payload: z.unknown(), partitions: 1 })
  const orders = createBinder({
    service: name,
    transport: memoryTransport({ broker }),
    bindings: coordinator.bindings,
    sends: coordinator.channels,
  })
  const stock = createBinder({
    service: 'stock',
    transport: memoryTransport({ broker }),
    bindings: [
      side,
      sink(dead, { group: 'watch' }, (_, { headers }) => void letters.push(String(headers['saga-operation']))),
    ],
    sends: [sagaReplies(name)],
  })
  const relays = [createRelay({ outbox, publisher: orders }), createRelay({ outbox: stockOutbox, publisher: stock })]
  await Promise.all([orders.start(), stock.start()])
  await Promise.all(relays.map((relay) => relay.start()))
  await coordinator.run()
  const close = async () => {
    for (const part of [coordinator, ...relays, orders, stock]) await part.close()
  }
  return { saga, coordinator, handled, letters, close, orders, sent }
}

describe('a command whose payload the participant cannot read', () => {
  test('is answered: the saga turns back at once with the reason, and nothing was done', async () => {
    const { saga, coordinator, handled, letters, close } = await setup(true)
    const run = await coordinator.start(saga, { id: 's1', input: { sku: 'apple', n: 1 } })
    const outcome = await run.outcome({ timeoutMs: 10_000 })
    expect(outcome).toMatchObject({ status: 'compensated', failure: { step: 'reserve', code: 'core.schema' } })
    expect(outcome).toHaveProperty('failure.message', expect.stringContaining('warehouse'))
    expect(handled).toEqual([])
    await until('it is kept as a dead letter', () => letters.includes('invoke'))
    await close()
  })

  test('is no saga command without its headers: a dead letter, and no answer', async () => {
    const { handled, letters, close, orders, sent } = await setup('none')
    await orders.send(sent, { sku: 'a', n: 1 })
    await until('it is a dead letter', () => letters.length === 1)
    expect(handled).toEqual([])
    await close()
  })
})
