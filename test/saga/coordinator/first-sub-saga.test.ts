import { defineSaga } from 'concordat/saga'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { closeEmbedded, openEmbedded, setupWorld } from '../support/world.ts'

beforeAll(openEmbedded, 180_000)
afterAll(closeEmbedded)

test('a coordinator that goes on with a saga begins its sub-saga while the one connection is in a transaction', async () => {
  const pack = defineSaga('pack', { version: 1, input: z.object({}) }).step('box', {
    invoke: () => 'packed',
    compensate: 'none',
  })
  const ship = defineSaga('ship', { version: 1, input: z.object({}) })
    .step('pick', {
      transactional: true,
      invoke: async ({ tx }) => void (await tx.query('SELECT 1')),
      compensate: 'none',
    })
    .saga('pack', { saga: pack, input: () => ({}), compensate: true })
  const world = await setupWorld({ sagas: [ship] })
  // A client whose commit is not seen: the saga is due at once, for any coordinator.
  await world.sql.transaction((tx) =>
    world.coordinator.start({ ...tx, afterCommit: undefined }, ship, { id: '1', input: {} }),
  )
  await world.coordinator.close()
  const next = world.another()
  await next.run()
  await expect
    .poll(async () => (await next.report({ saga: 'ship', id: '1' })).status, { timeout: 15_000 })
    .toBe('completed')
  await next.close()
})
