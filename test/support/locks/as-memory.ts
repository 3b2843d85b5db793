import { randomUUID } from 'node:crypto'
import { memoryLockServer } from 'concordat/memory'
import fc from 'fast-check'
import { expect } from 'vitest'
import { memoryTable } from './memory-table.ts'
import { Play, steps, type Table } from './scenario.ts'

/**
 * Plays events in any order at this table and at one of the memory server, and expects the same answers, step by step.
 * @param missing also lets waiters miss their heartbeats
 */
export async function expectAsMemory(table: Table, missing: boolean, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(steps(missing), async (scenario) => {
      const key = randomUUID()
      const real = new Play(key, table, !missing)
      const model = new Play(key, memoryTable(memoryLockServer()), !missing)
      await Promise.all([real.run(scenario), model.run(scenario)])
      await Promise.all([real.finish(), model.finish()])
      expect(real.seen).toEqual(model.seen)
    }),
    { numRuns },
  )
}
