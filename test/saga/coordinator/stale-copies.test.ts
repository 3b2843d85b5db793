/** A coordinator keeps the sagas that it wrote last in memory. Another one may have written them since. */
import type { SinkBinding } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { deliver } from '../support/delivery.ts'
import { runningWorlds } from '../support/running-world.ts'
import { stockCommands } from '../support/world.ts'

const setup = runningWorlds()
const command = {
  to: stockCommands,
  request: () => ({ sku: 's', n: 1 }),
  compensate: 'none',
  // No reply of the test is replaced by a second one.
  timeoutMs: 60_000,
} as const
const saga = defineSaga('order', { version: 1, input: z.object({}) })
  .command('reserve', command)
  .command('pack', command)

test('a coordinator applies a reply that does not fit its copy of a saga, which another coordinator has written since', async () => {
  const world = await setup({ sagas: [saga] })
  world.stock().pause()
  const run = await world.coordinator.start(saga, { id: 'o-1', input: {} })
  const { rows } = await world.sql.query<{ birth: string }>(`SELECT birth FROM ${world.schema}.saga`)
  const reply = (coordinator: Coordinator, step: string): Promise<void> =>
    deliver(
      coordinator.bindings[0] as SinkBinding,
      { saga: 'order', sagaId: 'o-1', step, operation: 'invoke', status: 'ok', birth: rows[0]?.birth },
      {},
      1,
    )
  await reply(world.another({ instance: 'other' }), 'reserve')
  await reply(world.coordinator, 'pack')
  expect((await run.report()).status).toBe('completed')
})
