import { defineSaga } from 'concordat/saga'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { runningWorlds } from '../support/running-world.ts'

const setup = runningWorlds()

test('a step that writes into its input or into results changes nothing for other attempts and steps', async () => {
  const seen: unknown[] = []
  const saga = defineSaga('changing', { version: 1, input: z.object({ cents: z.number() }) })
    .step('reserve', {
      invoke: ({ input }) => {
        seen.push(['reserve', input.cents])
        input.cents = 99
        return { cents: 1 }
      },
      compensate: ({ input, result }) => {
        seen.push(['release', input.cents, result?.cents])
      },
    })
    .step('pay', {
      retry: { maxAttempts: 2, initialMs: 1 },
      invoke: ({ input, results }): string => {
        seen.push(['pay', input.cents, results.reserve.cents])
        input.cents = 99
        Object.assign(results.reserve, { cents: 99 })
        throw new Error('the bank is closed')
      },
      compensate: 'none',
    })
  const { coordinator } = await setup({ sagas: [saga] })
  const run = await coordinator.start(saga, { id: 'x', input: { cents: 1 } })
  const outcome = await run.outcome({ timeoutMs: 10_000 })
  expect(seen).toEqual([
    ['reserve', 1],
    ['pay', 1, 1],
    ['pay', 1, 1],
    ['release', 1, 1],
  ])
  expect(outcome.results).toMatchObject({ reserve: { cents: 1 } })
})
