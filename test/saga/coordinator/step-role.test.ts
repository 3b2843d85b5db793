import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'
import { FAST } from '../support/world.ts'

const setup = runningWorlds()
const within = { timeoutMs: 10_000 }
const Input = z.object({ resets: z.boolean() })

test('a step that leaves its transaction under another role fails with what to do, and works when it resets the role', async () => {
  const saga = defineSaga('lowly', { version: 1, input: Input }).step('note', {
    transactional: true,
    retry: { ...FAST, maxAttempts: 2 },
    invoke: async ({ tx, input }) => {
      await tx.query('SET LOCAL ROLE lowly')
      await tx.query('INSERT INTO lowly_note VALUES (1)')
      if (input.resets) await tx.query('RESET ROLE')
    },
    compensate: 'none',
  })
  const { coordinator, sql } = await setup({ sagas: [saga] })
  await sql.query('CREATE ROLE lowly')
  await sql.query('CREATE TABLE lowly_note (id int)')
  await sql.query('GRANT INSERT ON lowly_note TO lowly')
  const run = await coordinator.start(saga, { id: 'x', input: { resets: false } })
  expect(await run.outcome(within)).toMatchObject({
    status: 'compensated',
    failure: {
      code: 'saga.step_role',
      message: expect.stringContaining('lowly/x/note: its transaction was left under a role that may not write'),
    },
  })
  expect((await sql.query('SELECT FROM lowly_note')).rowCount).toBe(0)
  const other = await coordinator.start(saga, { id: 'y', input: { resets: true } })
  expect((await other.outcome(within)).status).toBe('completed')
})
