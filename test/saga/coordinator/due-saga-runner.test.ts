import { createOperator } from '@concordat/cli'
import type { SqlClient, StandardSchemaV1 } from 'concordat/core'
import { defineSaga, Refusal } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'

const setup = runningWorlds()
const None = z.object({})

/** A saga that waits for the signal "two", and one who can only leave mail for it. */
async function setupMail() {
  // A schema is called twice: once to see whether it answers synchronously.
  let whileRead: Promise<unknown> | (() => Promise<unknown>) | undefined
  const Read = z.object({}).refine(async () => {
    if (typeof whileRead === 'function') whileRead = whileRead()
    await whileRead
    return true
  })
  const define = (One: typeof None) =>
    defineSaga('calls', { version: 1, input: None })
      .step('open', { invoke: () => undefined, compensate: () => undefined })
      .signal('one', { payload: One })
      .signal('two', { payload: None })
  const [saga, asTheStrangerHasIt] = [define(Read), define(None)]
  const other = defineSaga('other', { version: 1, input: None }).step('a', { invoke: () => undefined, pivot: true })
  const world = await setup({ sagas: [saga] })
  const { coordinator, another, sql, outbox } = world
  const operator = createOperator({ sql, schema: outbox.schema })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  expect(await coordinator.signal(saga, 'x', 'one', {})).toBe(true)
  await expect.poll(async () => (await operator.sagas.list()).sagas[0]?.waitingOn).toEqual(['two'])
  const stranger = another({ sagas: [other] })
  const leave = (step: 'one' | 'two') => stranger.signal(asTheStrangerHasIt, 'x', step, {})
  return { ...world, run, stranger, leave, operator, whileRead: (work: () => Promise<unknown>) => (whileRead = work) }
}

test('mail that comes while an irrelevant mail is read is not forgotten with it', async () => {
  const { run, stranger, leave, whileRead } = await setupMail()
  whileRead(() => leave('two'))
  expect(await leave('one')).toBe(true)
  expect((await run.outcome({ timeoutMs: 5_000 })).status).toBe('completed')
  await stranger.close()
})

test('the call of a process that is gone is in doubt, also when mail came for the saga', async () => {
  const [entered, leave] = [gate(), gate()]
  const calls: string[] = []
  const saga = defineSaga('trip', { version: 1, input: None })
    .parallel((group) =>
      group
        .step('car', {
          invoke: async ({ signal }) => {
            calls.push('car')
            if (calls.length > 1) throw new Refusal('car.taken', 'somebody has it')
            entered.open()
            await Promise.race([leave.opened, new Promise((resolve) => signal.addEventListener('abort', resolve))])
          },
          compensate: () => void calls.push('undo car'),
        })
        .signal('go', { payload: None }),
    )
    .step('end', { invoke: () => undefined, pivot: true })
  const { coordinator, sql, schema, events } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await entered.opened
  // State left by a process that was killed in the middle of the call, after another one had left a signal.
  await sql.query(`UPDATE ${schema}.saga SET owner = 'killed', epoch = epoch + 1, revision = revision + 1,
    due_at = now(), mail = '[{"signal": "go", "payload": {}}]'`)
  const outcome = await run.outcome({ timeoutMs: 10_000 })
  expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'car.taken' } })
  expect(calls).toEqual(['car', 'car', 'undo car'])
  expect(await events('trip', 'x')).toContain('orphaned car')
  leave.open()
})

test('sagas of a version that is not loaded, which stay due after a rollback, are not read by each poll for due sagas', async () => {
  const saga = defineSaga('rent', { version: 1, input: None }).step('a', { invoke: () => undefined, pivot: true })
  const { coordinator, sql, schema, another } = await setup({ sagas: [saga] })
  await coordinator.close()
  await sql.query(
    `INSERT INTO ${schema}.saga (name, id, version, graph_hash, birth, status, state, input, input_hash, due_at, wait_ms)
     SELECT 'rent', 'v2-' || n, 2, '', '', 'running', '{"status": "running", "steps": []}', '{}', '', now(), 0
     FROM generate_series(1, 5000) n`,
  )
  await sql.query(`ANALYZE ${schema}.saga`)
  const looks: Array<readonly [string, readonly unknown[] | undefined]> = []
  const recording: SqlClient = {
    ...sql,
    query: (text, parameters) => {
      if (/min\(n?\.?due_at\)/.test(text)) looks.push([text, parameters])
      return sql.query(text, parameters)
    },
  }
  const next = another({ sql: recording })
  await next.run()
  expect((await (await next.start(saga, { id: 'x', input: {} })).outcome()).status).toBe('completed')
  await expect.poll(() => looks.length).toBeGreaterThan(0)
  await next.close()
  for (const [text, parameters] of looks) {
    const { rows } = await sql.query<{ 'QUERY PLAN': unknown }>(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, parameters)
    expect(Math.max(...rowsRead(rows[0]?.['QUERY PLAN']))).toBeLessThan(100)
  }
})

/** Rows that each node of a plan has read or discarded. */
function rowsRead(plan: unknown): readonly number[] {
  if (typeof plan !== 'object' || plan === null) return []
  return Object.entries(plan).flatMap(([name, value]) =>
    name === 'Actual Rows' || name.startsWith('Rows Removed') ? [Number(value)] : rowsRead(value),
  )
}

test('a signal in the row whose schema fails with a passing error is read again after the lease', async () => {
  let isAway = true
  const validate = async (value: unknown) => {
    if (isAway) throw new Error('the directory does not answer')
    return { value: value as object }
  }
  const Known: StandardSchemaV1<object> = { '~standard': { version: 1, vendor: 'test', validate } }
  const define = (payload: StandardSchemaV1<object>) =>
    defineSaga('ask', { version: 1, input: None }).signal('answer', { payload })
  const saga = define(Known)
  const other = defineSaga('other', { version: 1, input: None }).step('a', { invoke: () => undefined, pivot: true })
  const { coordinator, another } = await setup({ sagas: [saga], coordinator: { leaseMs: 300 } })
  const run = await coordinator.start(saga, { id: 'x', input: {} })
  await expect.poll(async () => (await run.report()).steps[0]?.wait).toBe('signal')
  const stranger = another({ sagas: [other] })
  expect(await stranger.signal(define(None), 'x', 'answer', {})).toBe(true)
  await stranger.close()
  await expect
    .poll(() => coordinator.health(), { timeout: 5_000 })
    .toMatchObject({ status: 'degraded', detail: expect.stringContaining('the directory does not answer') })
  isAway = false
  expect((await run.outcome({ timeoutMs: 5_000 })).status).toBe('completed')
  expect(coordinator.health().status).toBe('up')
})
