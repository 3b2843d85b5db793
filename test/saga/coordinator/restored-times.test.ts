/** Sagas of a database that was restored from a backup: their times ran out since, and they may have completed since. */
import { readFileSync } from 'node:fs'
import { defineSaga, Refusal } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'
import { stockCommands } from '../support/world.ts'

const setup = runningWorlds()
const HOUR = 60 * 60 * 1_000
const nothing = { invoke: () => undefined, compensate: () => undefined }
const buy = defineSaga('buy', { version: 1, input: z.object({}), deadlineMs: HOUR })
  .step('reserve', nothing)
  .signal('approved', { payload: z.string(), timeoutMs: HOUR })
  .step('charge', { invoke: () => undefined, compensate: 'none' })

/** The statement of the page on backups that begins so. */
function statement(begin: 'UPDATE' | 'SELECT', schema: string, at: Date): string {
  const page = readFileSync('docs/production/backup.md', 'utf8')
  const sql =
    page
      .split('```sql\n')
      .find((text) => text.startsWith(begin))
      ?.split('```')[0] ?? ''
  return sql.replace('concordat.', `${schema}.`).replace(/timestamptz '[^']+'/, `timestamptz '${at.toISOString()}'`)
}

test.each([
  ['moved by the age of the backup, as the page on backups says, lets them go on', true, 'completed'],
  ['left as they are, turns them back', false, 'compensated'],
])('restoring open sagas with their times %s', async (_, isMoved, expected) => {
  const { coordinator, another, sql, schema } = await setup({ sagas: [buy] })
  const run = await coordinator.start(buy, { id: 'o-1', input: {} })
  await expect.poll(async () => (await run.report()).steps[1]?.status).toBe('invoking')
  await coordinator.close()
  const backup = new Date(Date.now() - 2 * HOUR)
  await sql.query(
    `UPDATE ${schema}.saga SET updated_at = updated_at - age, due_at = due_at - age, deadline_at = deadline_at - age,
       created_at = created_at - age FROM (SELECT interval '2 hours' AS age) AS backup`,
  )
  if (isMoved) await sql.query(statement('UPDATE', schema, backup))
  const restored = another()
  await restored.run()
  const again = restored.get(buy, 'o-1')
  if (isMoved) expect(await restored.signal(buy, 'o-1', 'approved', 'again')).toBe(true)
  expect((await again.outcome({ timeoutMs: 10_000 })).status).toBe(expected)
  await restored.close()
})

test('the page on backups finds the steps of participants that were compensated since', async () => {
  const order = defineSaga('order', { version: 1, input: z.object({}) })
    .command('reserve', { to: stockCommands, request: () => ({ sku: 'apple', n: 1 }), compensate: true })
    .step('pay', { invoke: () => Promise.reject(new Refusal('bank.closed', 'closed')), compensate: 'none' })
  const handlers = { invoke: () => ({ left: 1 }), compensate: () => {} }
  const { coordinator, sql, stockSchema } = await setup({ sagas: [order], handlers })
  const before = new Date(Date.now() - HOUR)
  expect((await (await coordinator.start(order, { id: 'o-1', input: {} })).outcome()).status).toBe('compensated')
  const { rows } = await sql.query<{ reply_to: string }>(`SELECT DISTINCT reply_to FROM ${stockSchema}.saga_barrier`)
  const find = async (since: Date): Promise<readonly unknown[]> => {
    const text = statement('SELECT', stockSchema, since).replace('shop.saga-replies', rows[0]?.reply_to ?? '')
    return (await sql.query(text)).rows
  }
  expect(rows[0]?.reply_to).toMatch(/\.saga-replies$/)
  expect(await find(before)).toEqual([{ saga_key: 'order/o-1/reserve' }])
  expect(await find(new Date(Date.now() + HOUR))).toEqual([])
})
