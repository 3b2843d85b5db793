/** Findings of the doctor as the console shows them. */
import { createOperator, type DoctorReport, type Operator } from '@concordat/cli'
import { createConsole } from '@concordat/console'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { expect, onTestFinished, test } from 'vitest'
import { freshPglite } from '../../support/pglite.ts'
import { refusingSql } from '../../support/refusing-sql.ts'
import { everything, ORIGIN } from './support/opened.ts'

const refused = (): Error => new Error('refused for hunter2')
const rejected = () => Promise.reject(refused())
const places = [{ channel: 'orders', group: 'stock' }]

/** The server refuses two statements; a resource and the broker do not answer. */
async function setup(): Promise<Operator> {
  const database = freshPglite()
  onTestFinished(() => database.close())
  await database.waitReady
  const sql = pgliteClient(database)
  await createOperator({ sql }).migrate({ by: 'ann', reason: 'a test', parts: ['outbox'], partitions: 2 })
  const statements = /has_function_privilege|CREATE TEMP TABLE/
  return createOperator({
    sql: refusingSql(sql, (text) => (statements.test(text) ? refused() : undefined)),
    resources: [{ name: 'ledger', ready: rejected, old: rejected }],
    transport: () => {
      throw refused()
    },
  })
}

/** The texts of findings that are not good, as one user sees them. */
async function textsOf(operator: Operator, isAllowed: boolean): Promise<readonly string[]> {
  const console = createConsole({ operator, places, ...(isAllowed && { authorize: everything }) })
  onTestFinished(() => console.close())
  const response = await console(new Request(`${ORIGIN}/api/doctor`))
  const { lines } = (await response.json()) as DoctorReport
  if (!isAllowed) expect(JSON.stringify(lines)).not.toContain('hunter2')
  return lines.filter(({ status }) => status !== 'ok').map(({ text }) => text)
}

test('error texts in findings are hidden, and shown with `payloads`', async () => {
  const operator = await setup()
  const findings = ['it takes no writes', 'cannot be looked at', 'orders.stock was not counted', 'ledger: no answer']
  const endingIn = (error: string) => findings.map((text) => `${text}: ${error}`)
  expect(await textsOf(operator, false)).toEqual(endingIn('***'))
  expect(await textsOf(operator, true)).toEqual(endingIn('refused for hunter2'))
})

test('the error of a database that does not answer is hidden, and shown with `payloads`', async () => {
  const sql: SqlClient = { query: rejected, transaction: rejected }
  const operator = createOperator({ sql })
  expect(await textsOf(operator, false)).toEqual(['no answer: ***'])
  expect(await textsOf(operator, true)).toEqual(['no answer: refused for hunter2'])
})
