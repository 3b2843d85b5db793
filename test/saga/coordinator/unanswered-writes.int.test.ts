import type { SqlClient } from 'concordat/core'
import { defineSaga, type SagaRun } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { lossyAnswers } from '../../support/lossy-answers.ts'
import { STRIDE } from '../../support/suite/night.ts'
import { until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded, stockCommands } from '../support/world.ts'

const setup = runningWorlds()
const Input = z.object({ sku: z.string(), n: z.number() })
const input = { sku: 'apple', n: 2 }

/** Sagas that complete, turn back and get stuck: with local, transactional and remote steps. */
function definitions(effects: string[]) {
  const no = (): never => {
    throw Object.assign(new Error('no'), { retryable: false })
  }
  const begin = (name: string) =>
    defineSaga(name, { version: 1, input: Input })
      .step('note', {
        transactional: true,
        invoke: async ({ tx, key }) => void (await tx.query('INSERT INTO effect VALUES ($1, 1)', [key])),
        compensate: async ({ tx, key }) => void (await tx.query('INSERT INTO effect VALUES ($1, -1)', [key])),
      })
      .command('reserve', { to: stockCommands, timeoutMs: 200, request: () => input, compensate: true })
      .timer('pause', { delay: 5 })
  return {
    completes: begin('completes').step('end', { compensate: 'none', invoke: () => void effects.push('end') }),
    turnsBack: begin('turns-back').step('end', { compensate: 'none', invoke: no }),
    getsStuck: begin('gets-stuck').step('end', { pivot: true, invoke: no, retry: { maxAttempts: 1 } }),
  }
}

test.each(['after', 'before'] as const)(
  'a missing answer to any statement or commit of a run, lost %s its execution, changes neither the end nor its report',
  async (when) => {
    const ends: Array<Record<string, unknown>> = []
    // Continues until a run needs fewer statements than the failing one's number.
    for (let nth = when === 'after' ? 1 : STRIDE, hit = true; hit; nth += STRIDE) {
      const lossy = lossyAnswers(embedded(), when)
      const { completes, turnsBack, getsStuck } = definitions([])
      const told: string[] = []
      const world = await setup({
        sagas: [completes, turnsBack, getsStuck],
        coordinator: {
          sql: lossy.sql,
          pollMs: 20,
          leaseMs: 300,
          drainTimeoutMs: 100,
          onStuck: ({ saga }) => void told.push(saga),
        },
      })
      await embedded().query('CREATE TABLE IF NOT EXISTS effect (key text, n int)')
      await embedded().query('TRUNCATE effect')
      const { coordinator } = world
      const runs: SagaRun<object>[] = []
      for (const saga of [completes, turnsBack, getsStuck]) {
        if (saga === completes) lossy.breakNth(nth)
        const begin = () => coordinator.start(saga, { id: 's1', input })
        runs.push(await begin().catch(begin))
      }
      const status = async () =>
        Promise.all(runs.map(async (run) => (await run.report().catch(() => undefined))?.status))
      const expected = ['completed', 'compensated', 'stuck']
      await until(`all have their end (${nth})`, async () => String(await status()) === String(expected))
      await until(`the alarm of the stuck one is raised (${nth})`, () => told.length > 0)
      const { rows } = await embedded().query<{ key: string; sum: number }>(
        'SELECT key, sum(n)::int AS sum FROM effect GROUP BY key ORDER BY key',
      )
      ends.push({ rows, told: [...new Set(told)] })
      hit = lossy.broke()
      await world.close()
    }
    expect(ends.length).toBeGreaterThan(10 / STRIDE)
    for (const end of ends) {
      expect(end).toEqual({
        rows: [
          { key: 'completes/s1/note', sum: 1 },
          { key: 'gets-stuck/s1/note', sum: 1 },
          { key: 'turns-back/s1/note', sum: 0 },
        ],
        told: ['gets-stuck'],
      })
    }
  },
  240_000,
)

test('a saga that is stuck since a step in a transaction, whose commit has no answer, is reported', async () => {
  let asked = 0
  const saga = defineSaga('stuck-next', { version: 1, input: Input })
    .command('reserve', {
      to: stockCommands,
      compensate: true,
      request: () => {
        if (++asked > 1) throw new Error('cannot be asked to undo it')
        return input
      },
    })
    .step('note', { transactional: true, invoke: () => {}, compensate: () => {} })
    .step('end', {
      compensate: 'none',
      invoke: () => {
        throw Object.assign(new Error('no'), { retryable: false })
      },
    })
  let hasBroken = false
  const inner = embedded()
  const sql: SqlClient = {
    ...inner,
    transaction: async (work) => {
      const result = await inner.transaction(work)
      if (hasBroken || !JSON.stringify(result ?? '').includes('"status":"stuck"')) return result
      hasBroken = true
      throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
    },
  }
  const told: string[] = []
  const world = await setup({
    sagas: [saga],
    coordinator: { sql, pollMs: 20, leaseMs: 300, onStuck: ({ saga: name }) => void told.push(name) },
  })
  const run = await world.coordinator.start(saga, { id: 's1', input })
  await until('it is stuck', async () => (await run.report())?.status === 'stuck')
  await until('the alarm is raised', () => told.length > 0)
  expect(hasBroken).toBe(true)
})
