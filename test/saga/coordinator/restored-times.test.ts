/** Sagas of a database that was restored from a backup: their times ran out since, and they may have completed since. */
import { readFileSync } from 'node:fs'
import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'

const setup = runningWorlds()
const HOUR = 60 * 60 * 1_000
const nothing = { invoke: () => undefined, compensate: () => undefined }
const buy = defineSaga('buy', { version: 1, input: z.object({}), deadlineMs: HOUR })
  .step('reserve', nothing)
  .signal('approved', { payload: z.string(), timeoutMs: HOUR })
  .step('charge', { invoke: () => undefined, compensate: 'none' })

/** The statement of the page on backups. */
function statement(schema: string, at: Date): string {
  const page = readFileSync('docs/production/backup.md', 'utf8')
  const [, sql = ''] = /```sql\n(UPDATE concordat\.saga [^`]+)```/.exec(page) ?? []
  return sql
    .replace('concordat.saga', `${schema}.saga`)
    .replace(/timestamptz '[^']+'/, `timestamptz '${at.toISOString()}'`)
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
  if (isMoved) await sql.query(statement(schema, backup))
  const restored = another()
  await restored.run()
  const again = restored.get(buy, 'o-1')
  if (isMoved) expect(await restored.signal(buy, 'o-1', 'approved', 'again')).toBe(true)
  expect((await again.outcome({ timeoutMs: 10_000 })).status).toBe(expected)
  await restored.close()
})
