import { randomUUID } from 'node:crypto'
import { memoryLockServer } from 'concordat/memory'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { memoryTable } from '../../support/locks/memory-table.ts'
import { type LocksDatabase, locksDatabase, postgresTable } from '../../support/locks/postgres-table.ts'
import { Play, type Step, steps } from '../../support/locks/scenario.ts'
import { describeWith } from '../../support/servers/index.ts'

describeWith(['postgres'], 'the functions of PostgreSQL, under any events in any order', () => {
  let database: LocksDatabase
  let table: ReturnType<typeof postgresTable>
  beforeAll(async () => {
    database = await locksDatabase()
    table = postgresTable(database)
  })
  afterAll(async () => {
    await table.close()
    await database.drop()
  })

  /** Results of both stores, step by step. */
  async function both(scenario: readonly Step[], follow: boolean): Promise<readonly [string[], string[]]> {
    const key = randomUUID()
    const real = new Play(key, table, follow)
    const model = new Play(key, memoryTable(memoryLockServer()), follow)
    await Promise.all([real.run(scenario), model.run(scenario)])
    await Promise.all([real.finish(), model.finish()])
    return [real.seen, model.seen]
  }

  it('keep the contract, and answer exactly as the memory server does', async () => {
    await fc.assert(
      fc.asyncProperty(steps(false), async (scenario) => {
        const [real, model] = await both(scenario, true)
        expect(real).toEqual(model)
      }),
      { numRuns: 300 },
    )
  })

  it('do so also when waiters miss their heartbeats', async () => {
    await fc.assert(
      fc.asyncProperty(steps(true), async (scenario) => {
        const [real, model] = await both(scenario, false)
        expect(real).toEqual(model)
      }),
      { numRuns: 100 },
    )
  })
})
