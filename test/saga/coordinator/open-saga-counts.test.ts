/** The coordinator counts open sagas and left messages beside its work. */
import type { SqlClient } from 'concordat/core'
import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { serverError } from '../../support/refusing-sql.ts'
import { gate } from '../../support/until.ts'
import { runningWorlds } from '../support/running-world.ts'
import { embedded } from '../support/world.ts'

const setup = runningWorlds()
const nap = defineSaga('nap', { version: 1, input: z.object({}) }).timer('wait', { delay: 300 })

/** A database whose table of left messages is locked: statements on it wait for `unlocked`, or time out at once. */
function locked(statements: 'wait' | 'time out') {
  const unlocked = gate()
  const inner = embedded()
  const sql: SqlClient = {
    ...inner,
    query: async (text, parameters) => {
      const meets = text.includes('.saga_message')
      if (meets && statements === 'time out') throw serverError('57014', 'canceling statement due to statement timeout')
      if (meets) await unlocked.opened
      return inner.query(text, parameters)
    },
  }
  return { sql, unlock: unlocked.open }
}

test.each(['wait', 'time out'] as const)(
  'due sagas go on while the statements that count left messages %s',
  async (statements) => {
    const { sql, unlock } = locked(statements)
    const { coordinator } = await setup({ sagas: [nap], sql })
    const run = await coordinator.start(nap, { id: 'a', input: {} })
    expect((await run.outcome({ timeoutMs: 5_000 })).status).toBe('completed')
    unlock()
  },
)
