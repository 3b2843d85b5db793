import { defineSaga, Refusal } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'
import { FAST } from '../support/world.ts'

const setup = runningWorlds()
class BankClosed extends Error {}

test('a saga that is stuck is reported and listed with the step that an operator has to see to', async () => {
  const told: unknown[] = []
  const saga = defineSaga('booking', { version: 1, input: z.object({}) })
    .step('charge', {
      invoke: () => undefined,
      compensate: () => {
        throw new BankClosed('the bank refuses refunds')
      },
      compensationRetry: { maxAttempts: 1, ...FAST },
    })
    .step('confirm', {
      invoke: () => {
        throw new Refusal('booking.blocked', 'the guest is on the list')
      },
      compensate: 'none',
    })
  const world = await setup({ sagas: [saga], coordinator: { onStuck: ({ failure }) => void told.push(failure) } })
  const run = await world.coordinator.start(saga, { id: '1', input: {} })
  expect((await run.outcome({ timeoutMs: 10_000 })).status).toBe('stuck')
  const failure = { step: 'charge', code: 'BankClosed', message: 'the bank refuses refunds' }
  expect(told).toEqual([failure])
  expect(await world.coordinator.list({ code: 'BankClosed' })).toMatchObject([{ id: '1', status: 'stuck', failure }])
  expect(await world.coordinator.list({ code: 'booking.blocked' })).toEqual([])
})
