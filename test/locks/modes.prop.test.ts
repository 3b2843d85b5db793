import { randomUUID } from 'node:crypto'
import { memoryLockServer } from 'concordat/memory'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memoryTable } from '../support/locks/memory-table.ts'
import { Play, steps } from '../support/locks/scenario.ts'
import { inputs } from '../support/suite/night.ts'

describe('the memory server, under any events in any order', () => {
  it('keeps the rule of admission, the order, rising tokens, loses no wake-up, leaves nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(steps(false), async (scenario) => {
        const server = memoryLockServer()
        const play = new Play(randomUUID(), memoryTable(server), true)
        await play.run(scenario)
        await play.finish()
        expect(server.keys()).toEqual([])
      }),
      { numRuns: inputs(3_000) },
    )
  })

  it('serves every waiter in the end also when waiters miss their heartbeats', async () => {
    await fc.assert(
      fc.asyncProperty(steps(true), async (scenario) => {
        const server = memoryLockServer()
        const play = new Play(randomUUID(), memoryTable(server), false)
        await play.run(scenario)
        await play.finish()
        expect(server.keys()).toEqual([])
      }),
      { numRuns: inputs(300) },
    )
  })
})
