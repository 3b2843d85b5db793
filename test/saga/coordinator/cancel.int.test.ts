import { defineSaga } from 'concordat/saga'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { gate } from '../../support/until.ts'
import { setupWorld } from '../support/world.ts'

describeWith(['postgres'], 'cancelling over a transactional step that runs', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
    await database.sql.query('CREATE TABLE effect (step text)')
  })
  afterAll(() => database.drop())

  test('lets it commit and undoes it; nothing else is begun', async () => {
    const [entered, leave] = [gate(), gate()]
    const saga = defineSaga('tx', { version: 1, input: z.object({}) })
      .step('a', {
        transactional: true,
        invoke: async ({ tx }) => {
          await tx.query(`INSERT INTO effect VALUES ('a')`)
          entered.open()
          await leave.opened
        },
        compensate: async ({ tx }) => void (await tx.query(`INSERT INTO effect VALUES ('undo a')`)),
      })
      .step('b', {
        transactional: true,
        invoke: async ({ tx }) => void (await tx.query(`INSERT INTO effect VALUES ('b')`)),
        compensate: 'none',
      })
    const world = await setupWorld({ sagas: [saga], sql: database.sql })
    await world.start()
    const run = await world.coordinator.start(saga, { id: 'x', input: {} })
    await entered.opened
    await world.another({ instance: 'operator' }).cancel(run, { by: 'ann', reason: 'rang up' })
    leave.open()
    expect(await run.outcome({ timeoutMs: 20_000 })).toMatchObject({
      status: 'compensated',
      failure: { step: 'a', code: 'saga.cancelled' },
    })
    const { rows } = await database.sql.query<{ step: string }>('SELECT step FROM effect')
    expect(rows.map(({ step }) => step)).toEqual(['a', 'undo a'])
    await world.close()
  })
})
