/** A participant that fails for some sagas does not hold up others. Counted in calls and pauses, on default options. */
import { createBinder, defineChannel } from 'concordat/binder'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, type ParticipantContext, participant, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { tccParticipant } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { closeEmbedded, embedded, openEmbedded } from '../saga/support/world.ts'
import { serverError } from '../support/refusing-sql.ts'
import { until } from '../support/until.ts'

const commands = defineChannel('pay.commands', { payload: z.object({ who: z.string() }) })
const Input = z.object({ who: z.string() })
const closing: Array<() => Promise<void>> = []
let runs = 0

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

type Handler = (who: string, context: ParticipantContext) => unknown

/** Creates a service with the coordinator and the participant, all with defaults, or with a limit of attempts on both sides. */
async function setup(kind: 'command' | 'tcc', handler: Handler, maxAttempts?: number) {
  const schema = `failing_${Date.now().toString(36)}_${++runs}`
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'shop', schema })
  const options = { group: 'pay', sql, outbox, schema, maxAttempts } as const
  const retry = { maxAttempts }
  const invoke = ({ who }: { who: string }, context: ParticipantContext) => handler(who, context)
  const side =
    kind === 'command'
      ? participant(commands, options, { invoke, compensate: () => {} })
      : tccParticipant(commands, options, { try: invoke, confirm: () => {}, cancel: () => {} })
  const request = ({ input }: { input: { who: string } }) => input
  const base = defineSaga('buy', { version: 1, input: Input })
  const saga =
    kind === 'command'
      ? base.command('pay', { to: commands, request, compensate: true, retry })
      : base.tcc('pay', { to: commands, request, retry })
  const coordinator = createCoordinator({ service: 'shop', sql, outbox, schema, sagas: [saga], pollMs: 50 })
  await outbox.migrate()
  await coordinator.migrate()
  await migrateParticipant(sql, schema)
  const binder = createBinder({
    service: 'shop',
    transport: memoryTransport({ broker: memoryBroker() }),
    bindings: [side, ...coordinator.bindings],
    sends: [...coordinator.channels, sagaReplies('shop')],
  })
  const relay = createRelay({ outbox, publisher: binder, idlePollMs: 20 })
  await binder.start()
  await relay.start()
  await coordinator.run()
  closing.push(async () => {
    await relay.close()
    await binder.close()
    await coordinator.close()
  })
  const start = (who: string, id: string) => coordinator.start(saga, { id, input: { who } })
  return { start, sql, schema }
}

test.each(['command', 'tcc'] as const)(
  'a %s that always fails does not hold up the commands behind it',
  { timeout: 60_000 },
  async (kind) => {
    const calls: string[] = []
    const { start } = await setup(kind, (who, { sagaId }) => {
      calls.push(sagaId)
      if (who === 'broken') throw new Error('broken')
    })
    for (let n = 0; n < 20; n++) await start('broken', `broken-${n}`)
    const healthy = await start('fine', 'fine')
    expect(await healthy.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    const before = calls.slice(0, calls.indexOf('fine'))
    for (const id of new Set(before)) expect(before.filter((each) => each === id).length, id).toBeLessThan(4)
    expect(calls.filter((each) => each === 'fine')).toEqual(['fine'])
  },
)

test.each(['40001', '40P01', '55P03'])(
  'a participant repeats a transaction that ended with %s as part of one attempt',
  async (code) => {
    const attempts: number[] = []
    let busy = 5
    const { start } = await setup('command', (_, { message }) => {
      attempts.push(message.attempt)
      if (busy-- > 0) throw serverError(code, 'the database was busy')
      return 'paid'
    })
    const run = await start('fine', 's')
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed', results: { pay: 'paid' } })
    expect(attempts).toEqual([1, 1, 1, 1, 1, 1])
  },
)

test.each([
  ['command', undefined],
  ['command', 1],
  ['tcc', undefined],
  ['tcc', 1],
] as const)(
  'a %s whose handler meets a closed part, as while its process ends, is not refused: it is called again (maxAttempts %s)',
  async (kind, maxAttempts) => {
    const broker = memoryBroker()
    const closed = createBinder({ service: 'shop', transport: memoryTransport({ broker }), sends: [commands] })
    await closed.close()
    let calls = 0
    const { start } = await setup(
      kind,
      async (who) => {
        if (++calls === 1) await closed.send(commands, { who })
        return 'paid'
      },
      maxAttempts,
    )
    const run = await start('fine', 's')
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    expect(calls).toBe(2)
  },
)

test('an answer that a busy database refuses for long is a failure in the end', { timeout: 60_000 }, async () => {
  let calls = 0
  const { start, sql, schema } = await setup('command', () => {
    calls++
    throw serverError('40P01', 'deadlock detected')
  })
  await start('fine', 's')
  await until('the first attempt has failed', async () => {
    const { rows } = await sql.query(`SELECT FROM ${schema}.saga_event WHERE kind = 'failed'`)
    return rows.length > 0
  })
  expect(calls).toBeGreaterThan(5)
})

test.each(['transactional', 'tcc'] as const)(
  'a %s step in the process of the coordinator repeats a busy transaction as part of one attempt',
  async (kind) => {
    const attempts: number[] = []
    let busy = 4
    const work = ({ attempt }: { attempt: number }) => {
      attempts.push(attempt)
      if (busy-- > 0) throw serverError('40P01', 'deadlock detected')
      return 'done'
    }
    const base = defineSaga('local', { version: 1, input: Input })
    const saga =
      kind === 'transactional'
        ? base.step('a', { invoke: work, transactional: true, compensate: 'none' })
        : base.tcc('a', { try: work, confirm: () => {}, cancel: () => {} })
    const schema = `busy_${Date.now().toString(36)}_${++runs}`
    const sql = embedded()
    const outbox = createOutbox({ sql, service: 'shop', schema })
    const coordinator = createCoordinator({ service: 'shop', sql, outbox, schema, sagas: [saga], pollMs: 50 })
    await outbox.migrate()
    await coordinator.migrate()
    await coordinator.run()
    closing.push(() => coordinator.close())
    const run = await coordinator.start(saga, { id: 's', input: { who: 'x' } })
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
    expect(attempts).toEqual([1, 1, 1, 1, 1])
  },
)

test('a step that was set aside while the database was busy runs within the concurrency of its coordinator again', async () => {
  let [isBusy, running, most] = [true, 0, 0]
  const saga = defineSaga('slots', { version: 1, input: Input })
    .step('busy', {
      transactional: true,
      compensate: 'none',
      invoke: () => {
        if (!isBusy) return
        isBusy = false
        throw serverError('40P01', 'deadlock detected')
      },
    })
    .step('count', {
      compensate: 'none',
      invoke: async () => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setImmediate(resolve))
        running--
      },
    })
  const schema = `slots_${Date.now().toString(36)}_${++runs}`
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'shop', schema })
  const coordinator = createCoordinator({
    service: 'shop',
    sql,
    outbox,
    schema,
    sagas: [saga],
    pollMs: 50,
    concurrency: 1,
  })
  await outbox.migrate()
  await coordinator.migrate()
  await coordinator.run()
  closing.push(() => coordinator.close())
  const end = async (id: string) =>
    (await coordinator.start(saga, { id, input: { who: 'x' } })).outcome({ timeoutMs: 20_000 })
  await end('first')
  await Promise.all(Array.from({ length: 20 }, (_, n) => end(`s${n}`)))
  expect([isBusy, most]).toEqual([false, 1])
})
