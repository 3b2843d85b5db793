/** An action that was refused stays in the row of its saga for a moment: it has one line all the same. */
import { createOperator } from '@concordat/cli'
import type { SqlClient } from 'concordat/core'
import { defineSaga, Refusal } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../saga/support/running-world.ts'
import { embedded } from '../saga/support/world.ts'
import { until } from '../support/until.ts'

const setup = runningWorlds()
const target = { saga: 'buy', id: 'o-1' }
const note = { by: 'ann', reason: 'the bank is open again' }

/** Stuck after its pivot, so that it cannot be compensated. */
const saga = defineSaga('buy', { version: 1, input: z.object({ n: z.number() }) })
  .step('reserve', { invoke: () => ({ shelf: 7 }), pivot: true })
  .step('pay', { retry: { maxAttempts: 1 }, invoke: () => Promise.reject(new Refusal('bank.closed', 'closed')) })

test('an action that is refused while another one comes has one line', async () => {
  const sql = embedded()
  let forgets = async (): Promise<unknown> => undefined
  const hooked: SqlClient = {
    ...sql,
    query: async (text, parameters) => {
      if (text.includes('SET mail = NULL')) await forgets()
      return sql.query(text, parameters)
    },
  }
  const { coordinator, outbox } = await setup({ sagas: [saga], sql: hooked })
  await (await coordinator.start(saga, { id: 'o-1', input: { n: 1 } })).outcome()
  const operator = createOperator({ sql, schema: outbox.schema })
  forgets = async () => {
    forgets = async () => undefined
    await operator.sagas.retry(target, { by: 'bob', reason: 'again', waitMs: 0 })
  }
  await operator.sagas.compensate(target, { ...note, waitMs: 0 })
  const kinds = async () => (await operator.sagas.show(target)).timeline.map(({ kind }) => kind)
  await until('the other one is applied', async () => (await kinds()).includes('operator-retry'))
  expect((await kinds()).filter((kind) => kind === 'operator-refused')).toHaveLength(1)
})
