/** Statements that would end the transaction which a function is lent: they are not run, and the failure is final. */
import { defineSaga } from 'concordat/saga'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { closeEmbedded, embedded, FAST, openEmbedded, setupWorld } from '../saga/support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

test.each(['ROLLBACK', '/* x */ rollback', 'SELECT 1; COMMIT', 'ROLLBACK AND CHAIN', 'ABORT'])(
  '%s of a transactional step fails its saga after one call',
  async (text) => {
    let calls = 0
    const saga = defineSaga('s', { version: 1, input: z.object({}) }).step('x', {
      transactional: true,
      invoke: async ({ tx }) => {
        calls++
        await tx.query(text)
      },
      compensate: 'none',
      retry: { maxAttempts: 3, ...FAST },
    })
    const world = await setupWorld({ sagas: [saga], sql: embedded() })
    try {
      await world.start()
      const run = await world.coordinator.start(saga, { id: '1', input: {} })
      const outcome = await run.outcome({ timeoutMs: 20_000 })
      expect(outcome).toMatchObject({ status: 'compensated', failure: { code: 'core.sql_transaction_control' } })
      expect(calls).toBe(1)
    } finally {
      await world.close()
    }
  },
)
