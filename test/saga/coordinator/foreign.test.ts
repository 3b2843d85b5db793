/** The documented shapes (docs/reference/wire-format.md), written out here by hand: other programs rely on them. */
import { type Binder, createBinder, defineChannel, type SinkBinding, sink } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, Refusal, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { closeEmbedded, embedded, FAST, openEmbedded } from '../support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
const open: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close()
})

let count = 0
const fresh = (): string => `foreign_${process.pid}_${++count}`
const commands = defineChannel('stock.commands', { payload: z.object({ n: z.number() }), groups: ['stock'] })
/** The channel as a service without our package would describe it. */
const replies = defineChannel('orders.saga-replies', {
  payload: z.record(z.string(), z.unknown()),
  groups: ['coordinator'],
})

async function start(
  options: Pick<Parameters<typeof createBinder>[0], 'service' | 'bindings' | 'sends' | 'transport'>,
) {
  const binder = createBinder(options)
  await binder.start()
  open.push(binder)
  return binder
}

/** Participant without our package: four rules, a map for a table, no outbox. Every message comes twice. */
function ownParticipant(reply: () => Binder) {
  const kept = new Map<string, Record<string, unknown>>()
  const effects: string[] = []
  const decide = (operation: string, key: string, n: number): Record<string, unknown> => {
    if (operation === 'compensate') {
      if (kept.get(`${key} invoke`)?.['status'] === 'ok') effects.push(`undo ${n}`)
      if (!kept.has(`${key} invoke`)) kept.set(`${key} invoke`, { status: 'refused', code: 'late' })
      return { status: 'ok' }
    }
    if (n > 10) return { status: 'refused', code: 'stock.empty', message: 'there are 10' }
    effects.push(`do ${n}`)
    return { status: 'ok', result: { left: 10 - n } }
  }
  const binding = sink(commands, { group: 'stock' }, async ({ n }, { headers, key }) => {
    const operation = String(headers['saga-operation'])
    const id = `${String(headers['saga-key'])} ${operation}`
    const answer = kept.get(id) ?? decide(operation, String(headers['saga-key']), n)
    kept.set(id, answer)
    const to = { saga: headers['saga-name'], sagaId: headers['saga-id'], step: headers['saga-step'], operation }
    expect(headers['saga-reply-to']).toBe('orders.saga-replies')
    expect(headers['saga-attempt']).toBe(1)
    expect(key).toBe(headers['saga-id'])
    for (let times = 0; times < 2; times++) {
      await reply().send(replies, { ...to, ...answer, attempt: headers['saga-attempt'] }, { key: String(key) })
    }
  })
  return { binding, effects }
}

test('a participant without our package takes part by the documented headers and replies', async () => {
  const sql = embedded()
  const schema = fresh()
  const outbox = createOutbox({ sql, service: 'orders', schema })
  const saga = defineSaga('order', { version: 1, input: z.object({ n: z.number(), late: z.boolean() }) })
    .command('reserve', {
      to: commands,
      request: ({ input }) => ({ n: input.n }),
      reply: z.object({ left: z.number() }),
      compensate: true,
    })
    .step('end', {
      pivot: true,
      transactional: true,
      invoke: ({ input, results }) => {
        if (input.late) throw new Refusal('too.late', 'too late')
        return results.reserve.left
      },
    })
  const coordinator = createCoordinator({ service: 'orders', sql, outbox, schema, sagas: [saga], pollMs: 50 })
  await outbox.migrate()
  await coordinator.migrate()
  open.push(coordinator)
  const broker = memoryBroker()
  const transport = () => memoryTransport({ broker })
  const { bindings, channels } = coordinator
  const orders = await start({ service: 'orders', transport: transport(), bindings, sends: channels })
  let stock: Binder | undefined
  const side = ownParticipant(() => stock as Binder)
  stock = await start({ service: 'stock', transport: transport(), bindings: [side.binding], sends: [replies] })
  const relay = createRelay({ outbox, publisher: orders, idlePollMs: 20 })
  await relay.start()
  open.push(relay)
  await coordinator.run()

  const outcome = async (id: string, n: number, late = false) =>
    (await coordinator.start(saga, { id, input: { n, late } })).outcome({ timeoutMs: 30_000 })
  expect(await outcome('a', 3)).toMatchObject({ status: 'completed', results: { reserve: { left: 7 }, end: 7 } })
  expect(await outcome('b', 11)).toMatchObject({
    status: 'compensated',
    failure: { step: 'reserve', code: 'stock.empty', message: 'there are 10' },
  })
  expect(await outcome('c', 4, true)).toMatchObject({ status: 'compensated', failure: { code: 'too.late' } })
  expect(side.effects).toEqual(['do 3', 'do 4', 'undo 4'])
})

async function setupOurParticipant() {
  const sql = embedded()
  const schema = fresh()
  const effects: string[] = []
  const outbox = createOutbox({ sql, service: 'stock', schema })
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  const ours: SinkBinding = participant(
    commands,
    { group: 'stock', sql, outbox, schema, backoff: FAST },
    {
      invoke: ({ n }) => {
        if (n > 10) throw new Refusal('stock.empty', 'there are 10')
        effects.push(`do ${n}`)
        return { left: 10 - n }
      },
      compensate: ({ n }) => void effects.push(`undo ${n}`),
    },
  )
  const broker = memoryBroker()
  const got: Record<string, unknown>[] = []
  const others = sink(replies, { group: 'coordinator' }, (reply) => void got.push(reply))
  const transport = () => memoryTransport({ broker })
  const stock = await start({
    service: 'stock',
    transport: transport(),
    bindings: [ours],
    sends: [sagaReplies('orders')],
  })
  const relay = createRelay({ outbox, publisher: stock, idlePollMs: 20 })
  await relay.start()
  open.push(relay)
  const orders = await start({ service: 'orders', transport: transport(), bindings: [others], sends: [commands] })
  const ask = async (id: string, n: number, operation: 'invoke' | 'compensate', attempt = 1) => {
    const before = got.length
    const headers = {
      'saga-name': 'order',
      'saga-id': id,
      'saga-step': 'reserve',
      'saga-operation': operation,
      'saga-key': `order/${id}/reserve`,
      'saga-attempt': attempt,
      'saga-reply-to': 'orders.saga-replies',
    }
    await orders.send(commands, { n }, { key: id, headers })
    await until('it is answered', () => got.length > before)
    return got[before]
  }
  return { ask, effects }
}

test('a coordinator without our package is answered by participant() in the documented shape', async () => {
  const { ask, effects } = await setupOurParticipant()
  const head = (sagaId: string, operation: string) => ({
    saga: 'order',
    sagaId,
    step: 'reserve',
    operation,
    round: 0,
  })
  const done = { ...head('a', 'invoke'), status: 'ok', result: { left: 7 } }
  expect(await ask('a', 3, 'invoke')).toEqual(done)
  expect(await ask('a', 3, 'invoke', 2)).toEqual(done)
  expect(await ask('a', 3, 'compensate')).toEqual({ ...head('a', 'compensate'), status: 'ok' })
  expect(await ask('b', 11, 'invoke')).toMatchObject({
    ...head('b', 'invoke'),
    status: 'refused',
    code: 'stock.empty',
    message: 'there are 10',
  })
  expect(await ask('c', 1, 'compensate')).toEqual({ ...head('c', 'compensate'), status: 'ok' })
  expect(await ask('c', 1, 'invoke')).toMatchObject({
    ...head('c', 'invoke'),
    status: 'refused',
    code: 'saga.cancelled',
  })
  expect(effects).toEqual(['do 3', 'undo 3'])
})
