import { defineSaga, Refusal } from 'concordat/saga'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { SagaOutcome } from '../../support/inside/saga.ts'
import { runningWorlds } from '../support/running-world.ts'
import { FAST, stockCommands } from '../support/world.ts'

const setup = runningWorlds()
const Input = z.object({ sku: z.string(), n: z.number() })
const input = { sku: 'apple', n: 2 }

function failureOf(outcome: SagaOutcome): string {
  return outcome.status === 'completed' ? '' : `${outcome.status} ${outcome.failure.step} ${outcome.failure.code}`
}

describe('local steps', () => {
  test('run in order and hand their results on', async () => {
    const saga = defineSaga('sum', { version: 1, input: Input })
      .step('double', { invoke: ({ input: { n } }) => ({ value: n * 2 }), compensate: 'none' })
      .step('add', { invoke: ({ results }) => ({ value: results.double.value + 1 }), compensate: 'none' })
    const { coordinator } = await setup({ sagas: [saga] })
    const run = await coordinator.start(saga, { id: 's1', input })
    const outcome = await run.outcome({ timeoutMs: 5_000 })
    expect(outcome.status).toBe('completed')
    expect(outcome.results).toEqual({ double: { value: 4 }, add: { value: 5 } })
    expect(outcome.timeline.map(({ kind, step }) => [kind, step])).toEqual([
      ['started', undefined],
      ['invoking', 'double'],
      ['invoked', 'double'],
      ['invoking', 'add'],
      ['invoked', 'add'],
      ['saga-completed', undefined],
    ])
  })

  test('a refusal compensates the steps before it in reverse order', async () => {
    const undone: string[] = []
    const saga = defineSaga('refuse', { version: 1, input: Input })
      .step('a', { invoke: () => 1, compensate: ({ step, result }) => void undone.push(`${step}${result}`) })
      .step('b', { invoke: () => 2, compensate: ({ step, result }) => void undone.push(`${step}${result}`) })
      .step('c', {
        invoke: () => {
          throw new Refusal('shop.closed', 'come back tomorrow')
        },
        compensate: ({ step }) => void undone.push(step),
      })
    const { coordinator } = await setup({ sagas: [saga] })
    const outcome = await (await coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 5_000 })
    expect(failureOf(outcome)).toBe('compensated c shop.closed')
    expect(undone).toEqual(['b2', 'a1'])
  })

  test('a failing step is tried again with the next attempt number and the same key', async () => {
    const seen: string[] = []
    const saga = defineSaga('retry', { version: 1, input: Input }).step('flaky', {
      retry: { maxAttempts: 3, ...FAST },
      invoke: ({ attempt, key }) => {
        seen.push(`${attempt} ${key}`)
        if (attempt < 3) throw new Error('not yet')
        return 'done'
      },
      compensate: 'none',
    })
    const { coordinator } = await setup({ sagas: [saga] })
    const outcome = await (await coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 5_000 })
    expect(outcome.status).toBe('completed')
    expect(seen).toEqual(['1 retry/s1/flaky', '2 retry/s1/flaky', '3 retry/s1/flaky'])
  })

  test('a step that used up its attempts is compensated like a success, since its effect is unknown', async () => {
    const undone: unknown[] = []
    const saga = defineSaga('exhaust', { version: 1, input: Input }).step('flaky', {
      retry: { maxAttempts: 2, ...FAST },
      invoke: () => {
        throw new Error('connection reset')
      },
      compensate: ({ result, failure }) => void undone.push([result, failure.message]),
    })
    const { coordinator } = await setup({ sagas: [saga] })
    const outcome = await (await coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 5_000 })
    expect(failureOf(outcome)).toBe('compensated flaky Error')
    expect(undone).toEqual([[undefined, 'connection reset']])
  })

  test('an error with retryable false gets one attempt', async () => {
    let calls = 0
    const saga = defineSaga('terminal', { version: 1, input: Input }).step('a', {
      invoke: () => {
        calls++
        throw Object.assign(new Error('wrong'), { retryable: false })
      },
      compensate: 'none',
    })
    const { coordinator } = await setup({ sagas: [saga] })
    const outcome = await (await coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 5_000 })
    expect(outcome.status).toBe('compensated')
    expect(calls).toBe(1)
  })

  test('a transactional step commits its effect with the advance, and rolls it back when it fails', async () => {
    const saga = defineSaga('tx', { version: 1, input: Input })
      .step('one', {
        transactional: true,
        invoke: async ({ tx, sagaId }) => void (await tx.query('INSERT INTO effects VALUES ($1)', [`${sagaId} one`])),
        compensate: async ({ tx, sagaId }) =>
          void (await tx.query('INSERT INTO effects VALUES ($1)', [`${sagaId} undo one`])),
      })
      .step('two', {
        transactional: true,
        retry: { maxAttempts: 2, ...FAST },
        invoke: async ({ tx, sagaId }) => {
          await tx.query('INSERT INTO effects VALUES ($1)', [`${sagaId} two`])
          throw new Error('after the effect')
        },
        compensate: async ({ tx }) => void (await tx.query("INSERT INTO effects VALUES ('undo two')")),
      })
    const { coordinator, sql } = await setup({ sagas: [saga] })
    await sql.query('CREATE TABLE effects (what text)')
    const outcome = await (await coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 5_000 })
    expect(outcome.status).toBe('compensated')
    const { rows } = await sql.query('SELECT what FROM effects')
    expect(rows).toEqual([{ what: 's1 one' }, { what: 's1 undo one' }])
  })

  test('a step that runs too long is aborted and tried again', async () => {
    const saga = defineSaga('slow', { version: 1, input: Input }).step('a', {
      timeoutMs: 30,
      retry: { maxAttempts: 2, ...FAST },
      invoke: async ({ attempt, signal }) => {
        if (attempt === 1)
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
        return attempt
      },
      compensate: 'none',
    })
    const { coordinator } = await setup({ sagas: [saga] })
    const outcome = await (await coordinator.start(saga, { id: 's1', input })).outcome({ timeoutMs: 5_000 })
    expect(outcome).toMatchObject({ status: 'completed', results: { a: 2 } })
    expect(outcome.timeline[2]?.detail).toMatchObject({ code: 'saga.step_timeout' })
  })
})

describe('commands', () => {
  const saga = defineSaga('order', { version: 1, input: Input })
    .command('reserve', {
      to: stockCommands,
      request: ({ input: { sku, n } }) => ({ sku, n }),
      reply: z.object({ left: z.number() }),
      compensate: true,
      retry: FAST,
    })
    .step('confirm', { pivot: true, transactional: true, invoke: ({ results }) => results.reserve.left })

  test('a participant answers and its result is passed on', async () => {
    const { coordinator, sql, stockSchema } = await setup({
      sagas: [saga],
      handlers: { invoke: ({ n }) => ({ left: 10 - n }), compensate: () => {} },
    })
    const outcome = await (await coordinator.start(saga, { id: 'o1', input })).outcome({ timeoutMs: 5_000 })
    expect(outcome).toMatchObject({ status: 'completed', results: { reserve: { left: 8 }, confirm: 8 } })
    const { rows } = await sql.query(`SELECT saga_key, operation, status FROM ${stockSchema}.saga_barrier`)
    expect(rows).toEqual([{ saga_key: 'order/o1/reserve', operation: 'invoke', status: 'ok' }])
  })

  test('a refusal of the participant ends the saga with its code', async () => {
    const { coordinator } = await setup({
      sagas: [saga],
      handlers: {
        invoke: () => {
          throw new Refusal('stock.empty', 'no apples')
        },
        compensate: () => {
          throw new Error('never called')
        },
      },
    })
    const outcome = await (await coordinator.start(saga, { id: 'o1', input })).outcome({ timeoutMs: 5_000 })
    expect(failureOf(outcome)).toBe('compensated reserve stock.empty')
  })

  test('500 sagas with a command and a local step end', { timeout: 60_000 }, async () => {
    const { coordinator } = await setup({
      sagas: [saga],
      handlers: { invoke: ({ n }) => ({ left: 10 - n }), compensate: () => {} },
    })
    const runs = await Promise.all(
      Array.from({ length: 500 }, (_, i) => coordinator.start(saga, { id: `o${i}`, input })),
    )
    const outcomes = await Promise.all(runs.map((run) => run.outcome({ timeoutMs: 50_000 })))
    expect(outcomes.filter(({ status }) => status === 'completed')).toHaveLength(500)
  })
})
