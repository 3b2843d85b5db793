/** A participant that has lost its record of a step that was done never says that it is undone, however its commands reach it. */
import { createBinder, defineChannel, type HandlerContext, type Headers } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import {
  defineSaga,
  localTarget,
  migrateParticipant,
  participant,
  purgeParticipant,
  type SagaReply,
  sagaReplies,
} from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { httpParticipants, httpTarget } from 'concordat/saga/http'
import { tccParticipant } from 'concordat/saga/tcc'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { askTarget, commandHeaders, takeReplies } from '../saga/support/delivery.ts'
import { closeEmbedded, embedded, openEmbedded } from '../saga/support/world.ts'
import type { Operation } from '../support/inside/saga.ts'
import { until } from '../support/until.ts'

const DAY_MS = 24 * 60 * 60 * 1_000
const commands = defineChannel('rent.commands', { payload: z.object({ n: z.number() }) })
const Input = z.object({ n: z.number() })
const by = { by: 'ann', reason: 'test' }
const closing: Array<() => Promise<void>> = []
let runs = 0

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** Paths of a command. */
const WAYS = ['message', 'localTarget', 'httpTarget'] as const
type Way = (typeof WAYS)[number]

/** A saga whose step is done and that waits for a signal. */
async function waiting(kind: 'command' | 'tcc', effects: 'anywhere' | 'tx', way: Way = 'message') {
  const schema = `forgetful_${Date.now().toString(36)}_${++runs}`
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'shop', schema })
  const options = { group: 'rent', effects, ...(way === 'message' && { sql, outbox, schema }) } as const
  const calls: string[] = []
  const call = (name: string) => (): void => void calls.push(name)
  const side =
    kind === 'command'
      ? participant(commands, options, { invoke: call('done'), compensate: call('undone') })
      : tccParticipant(commands, options, { try: call('done'), confirm: call('confirmed'), cancel: call('undone') })
  const targets = {
    message: () => commands,
    localTarget: () => localTarget(commands, side, { sql, schema }),
    httpTarget: () => {
      const serve = httpParticipants([side], { sql, schema, authorize: 'none' })
      return httpTarget(commands, {
        url: 'http://rent.test',
        fetch: async (url, init) => serve(new Request(url, init)),
      })
    },
  }
  const to = targets[way]()
  const request = ({ input }: { input: { n: number } }) => input
  const base = defineSaga('rent', { version: 1, input: Input })
  const saga = (
    kind === 'command' ? base.command('rent', { to, request, compensate: true }) : base.tcc('rent', { to, request })
  ).signal('signed', { payload: z.string() })
  const coordinator = createCoordinator({ service: 'shop', sql, outbox, schema, sagas: [saga], pollMs: 50 })
  await outbox.migrate()
  await coordinator.migrate()
  await migrateParticipant(sql, schema)
  const binder = createBinder({
    service: 'shop',
    transport: memoryTransport({ broker: memoryBroker() }),
    bindings: [...(way === 'message' ? [side] : []), ...coordinator.bindings],
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
  const run = await coordinator.start(saga, { id: '1', input: { n: 1 } })
  await until('the step is done', async () => (await run.report())?.steps[0]?.status === 'invoked')
  await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days'`)
  const cancel = async () => {
    await coordinator.cancel(run, by)
    const { status } = await run.outcome({ timeoutMs: 20_000 })
    return { status, calls, errors: (await run.report())?.steps.map(({ error }) => error?.code) }
  }
  return {
    cancel,
    purge: () => purgeParticipant(sql, { olderThanMs: 30 * DAY_MS, schema }),
    sql,
    schema,
    calls,
    run,
    coordinator,
    saga,
  }
}

/** A participant whose release requires a field that no command has. */
async function alone(kind: 'command' | 'tcc', effects: 'anywhere' | 'tx', way: Way) {
  const schema = `forgetful_${Date.now().toString(36)}_${++runs}`
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'rent', schema, partitions: 1 })
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  const strict = defineChannel('rent.commands', { payload: z.object({ n: z.number(), days: z.number() }) })
  const options = { group: 'rent', effects, ...(way === 'message' && { sql, outbox, schema }) } as const
  const call = (): never => {
    throw new Error('the handler was called')
  }
  const side =
    kind === 'command'
      ? participant(strict, options, { invoke: call, compensate: call })
      : tccParticipant(strict, options, { try: call, confirm: call, cancel: call })
  const serve = httpParticipants([side], { sql, schema, authorize: 'none' })
  const fetch = async (url: Parameters<typeof globalThis.fetch>[0], init?: RequestInit) => serve(new Request(url, init))
  const ask = async (operation: Operation, more: Headers): Promise<SagaReply | undefined> => {
    const headers = { ...commandHeaders('1', operation), ...(kind === 'tcc' && { 'saga-kind': 'tcc' }), ...more }
    if (way === 'message') {
      const context = { headers, attempt: 1, log: silentLogger, signal: new AbortController().signal }
      await side.unreadable?.(new Error('days is missing'), context as unknown as HandlerContext)
      return (await takeReplies(sql, schema))[0]
    }
    const target =
      way === 'localTarget'
        ? localTarget(strict, side, { sql, schema })
        : httpTarget(strict, { url: 'http://rent.test', fetch })
    const answer = await askTarget(target, { n: 1 }, headers)
    return 'reply' in answer ? answer.reply : undefined
  }
  return { ask }
}

describe.each(['anywhere', 'tx'] as const)('with effects %s', (effects) => {
  const kinds = WAYS.flatMap((way) => (['command', 'tcc'] as const).map((kind) => ({ kind, way })))

  test.each(kinds)('a $kind by $way whose row was lost leaves the saga stuck', async ({ kind, way }) => {
    const { cancel, sql, schema } = await waiting(kind, effects, way)
    await sql.query(`DELETE FROM ${schema}.saga_barrier`)
    expect(await cancel()).toMatchObject({
      status: 'stuck',
      calls: ['done'],
      errors: ['saga.step_forgotten', expect.anything()],
    })
  })

  test.each(kinds)(
    'a $kind by $way whose row was lost, and that cannot read the payload any longer, says so',
    async ({ kind, way }) => {
      const { ask } = await alone(kind, effects, way)
      expect(await ask('compensate', { 'saga-succeeded': true })).toMatchObject({
        status: 'failed',
        final: true,
        code: 'saga.step_forgotten',
      })
      // The coordinator never had the answer to this step: there is nothing to undo.
      expect(await ask('compensate', { 'saga-id': '2', 'saga-key': 'order/2/reserve' })).toMatchObject({ status: 'ok' })
    },
  )

  test.each(kinds)('a $kind by $way whose row exists is undone', async ({ kind, way }) => {
    const { cancel } = await waiting(kind, effects, way)
    expect(await cancel()).toMatchObject({ status: 'compensated', calls: ['done', 'undone'] })
  })

  test('a purge keeps tries until they are decided', async () => {
    const { cancel, purge } = await waiting('tcc', effects)
    expect(await purge()).toBe(0)
    expect(await cancel()).toMatchObject({ status: 'compensated', calls: ['done', 'undone'] })
  })
})

test('a purge keeps a step while its decision may be repeated', async () => {
  const { purge, coordinator, saga, run } = await waiting('tcc', 'tx')
  await coordinator.signal(saga, '1', 'signed', 'yes')
  await run.outcome({ timeoutMs: 20_000 })
  expect(await purge()).toBe(0)
})

test('a purge deletes a try once it is confirmed', async () => {
  const { purge, coordinator, saga, run, sql, schema } = await waiting('tcc', 'tx')
  await coordinator.signal(saga, '1', 'signed', 'yes')
  expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed' })
  await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days'`)
  expect(await purge()).toBe(2)
})

test('a purge that skips a try keeps its confirmation, so that a late duplicate does not confirm again', async () => {
  const schema = `forgetful_${Date.now().toString(36)}_${++runs}`
  const sql = embedded()
  await migrateParticipant(sql, schema)
  const calls: string[] = []
  const call = (name: string) => (): void => void calls.push(name)
  const handlers = { try: call('tried'), confirm: call('confirmed'), cancel: call('cancelled') }
  const side = tccParticipant(commands, { group: 'rent', effects: 'tx' }, handlers)
  const target = localTarget(commands, side, { sql, schema })
  const send = (operation: Operation, payload: object = { n: 1 }) =>
    askTarget(target, payload, { ...commandHeaders('1', operation), 'saga-kind': 'tcc' })
  const done = { reply: { status: 'ok' } }
  for (const operation of ['invoke', 'confirm'] as const) expect(await send(operation)).toMatchObject(done)
  // A session that holds the row, or a clock that was set back after the try, makes a purge skip the try alone.
  await sql.query(
    `UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days' WHERE operation = 'confirm'`,
  )
  const purge = () => purgeParticipant(sql, { olderThanMs: 30 * DAY_MS, schema })
  expect(await purge()).toBe(0)
  expect(await send('confirm')).toMatchObject(done)
  expect(calls).toEqual(['tried', 'confirmed'])
  // Between two batches of a purge the row of the try alone is gone.
  await sql.query(`DELETE FROM ${schema}.saga_barrier WHERE operation = 'invoke'`)
  expect(await send('confirm')).toMatchObject(done)
  for (const payload of [{ n: 1 }, { n: 'unreadable' }])
    expect(await send('compensate', payload)).toMatchObject({
      reply: { status: 'failed', final: true, code: 'saga.confirmed' },
    })
  expect(calls).toEqual(['tried', 'confirmed'])
  await sql.query(`UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days'`)
  expect(await purge()).toBe(2)
})

test('a purge keeps a step that failed and may have had an effect', async () => {
  const { purge, sql, schema } = await waiting('command', 'anywhere')
  for (const status of ['begun', 'failed', 'final']) {
    await sql.query(`UPDATE ${schema}.saga_barrier SET status = $1`, [status])
    expect(await purge(), status).toBe(0)
  }
})
