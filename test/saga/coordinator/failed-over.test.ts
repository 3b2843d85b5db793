/** A database that failed over to a copy without the last commits. */
import { defineSaga, Refusal } from 'concordat/saga'
import { expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { FaultySql, WORDS } from '../../support/sql-faults.ts'
import { gate, until } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded } from '../support/world.ts'

const setup = runningWorlds()
const saga = defineSaga('order', { version: 1, input: z.object({}) })
  .signal('paid', { payload: z.number() })
  .signal('sent', { payload: z.number() })

test('a saga continues from the copy’s state, not from the last write here', async () => {
  const sql = embedded()
  const faulty = new FaultySql(sql, '57P01', (text) => text.includes('ORDER BY created_at'))
  const { coordinator, schema } = await setup({ sagas: [saga], sql: faulty.sql })
  const run = await coordinator.start(saga, { id: 'a', input: {} })
  const step = async (n: number) => (await run.report())?.steps[n]?.status
  await until('it waits', async () => (await step(0)) === 'invoking')
  const { rows } = await sql.query<{ state: string }>(`SELECT state::text FROM ${schema}.saga`)
  expect(await coordinator.signal(saga, 'a', 'paid', 1)).toBe(true)
  await until('it goes on', async () => (await step(1)) === 'invoking')

  // By chance the copy has the same revision.
  await sql.query(`UPDATE ${schema}.saga SET state = $1::jsonb`, [rows[0]?.state])
  faulty.refuse(1)
  await expect(coordinator.list()).rejects.toThrow(WORDS)

  await coordinator.signal(saga, 'a', 'sent', 3)
  expect(await coordinator.signal(saga, 'a', 'paid', 2)).toBe(true)
  expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({ status: 'completed', results: { paid: 2, sent: 3 } })
})

test('the outcome of a step whose beginning was lost is not written over what another instance wrote since', async () => {
  const [entered, leave] = [gate(), gate()]
  const trip = defineSaga('trip', { version: 1, input: z.object({}) })
    .signal('go', { payload: z.number() })
    .step('car', { invoke: () => (entered.open(), leave.opened), pivot: true })
  const { coordinator, sql, schema, another } = await setup({ sagas: [trip] })
  const run = await coordinator.start(trip, { id: 'a', input: {} })
  await until('it waits', async () => (await run.report())?.steps[0]?.status === 'invoking')
  await sql.query(`CREATE TABLE ${schema}.copy AS SELECT * FROM ${schema}.saga`)
  await coordinator.signal(trip, 'a', 'go', 1)
  await entered.opened

  await sql.query(`DELETE FROM ${schema}.saga`)
  await sql.query(`INSERT INTO ${schema}.saga SELECT * FROM ${schema}.copy`)
  const other = another()
  await other.run()
  await other.cancel(run, { by: 'ann', reason: 'rang up' })
  leave.open()
  await coordinator.close()
  expect(await other.report(run)).toMatchObject({ status: 'compensated' })
  await other.close()
})

/** Starts a list of three items, two at once. Each returns when its gate is opened. */
async function trip() {
  const gates = [gate(), gate(), gate()]
  const calls = [0, 0, 0]
  const saga = defineSaga('legs', { version: 1, input: z.object({}) }).each('leg', {
    over: () => [0, 1, 2],
    atOnce: 2,
    compensate: 'none',
    invoke: async ({ index }) => {
      calls[index] = (calls[index] ?? 0) + 1
      if (calls.some((count) => count > 9)) throw new Refusal('too.often', 'it is called without end')
      await gates[index]?.opened
    },
  })
  const { coordinator, sql, schema } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'a', input: {} })
  await until('two run', () => calls[0] === 1 && calls[1] === 1)
  await sql.query(`CREATE TABLE ${schema}.copy AS SELECT * FROM ${schema}.saga`)
  const loseSince = () =>
    sql.query(`UPDATE ${schema}.saga s SET state = k.state, revision = k.revision FROM ${schema}.copy k`)
  return { gates, calls, run, loseSince }
}

test('an item of a list whose outcome was lost is called again, and no other one is', async () => {
  const { gates, calls, run, loseSince } = await trip()
  const random = vi.spyOn(Math, 'random')
  onTestFinished(() => random.mockRestore())
  // By chance the lost write has a higher revision than the one that follows it.
  random.mockReturnValue(0.9)
  gates[0]?.open()
  await until('the third runs', () => calls[2] === 1)
  await loseSince()
  random.mockReturnValue(0.1)
  gates[1]?.open()
  gates[2]?.open()
  expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
  expect(calls.slice(0, 2)).toEqual([2, 1])
})

test('an item of a list whose beginning was lost is called once more when its turn comes', async () => {
  const { gates, calls, run, loseSince } = await trip()
  gates[0]?.open()
  await until('the third runs', () => calls[2] === 1)
  await loseSince()
  gates[2]?.open()
  await until('the first is called again', () => calls[0] === 2)
  gates[1]?.open()
  expect(await run.outcome({ timeoutMs: 10_000 })).toMatchObject({ status: 'completed' })
  expect(calls).toEqual([2, 1, 2])
})
