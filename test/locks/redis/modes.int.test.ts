import { randomUUID } from 'node:crypto'
import { memoryLockServer } from 'concordat/memory'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { memoryTable } from '../../support/locks/memory-table.ts'
import { redisTable } from '../../support/locks/redis-table.ts'
import { Play, type Step, steps } from '../../support/locks/scenario.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

describeWith(['redis'], 'the Redis scripts, under any events in any order', () => {
  const prefix = `test-${randomUUID()}:`
  let client: Redis
  let table: ReturnType<typeof redisTable>
  beforeAll(() => {
    client = new Redis(serverUrl('redis') as string)
    table = redisTable(client, prefix)
  })
  afterAll(async () => {
    await table.close()
    const keys = await client.keys(`${prefix}*`)
    if (keys.length > 0) await client.del(keys)
    client.disconnect()
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

  it('keep the contract, and answer exactly as the memory server does', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(steps(false), async (scenario) => {
        const [real, model] = await both(scenario, true)
        expect(real).toEqual(model)
      }),
      { numRuns: 600 },
    )
  })

  it('do so also when waiters miss their heartbeats', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(steps(true), async (scenario) => {
        const [real, model] = await both(scenario, false)
        expect(real).toEqual(model)
      }),
      { numRuns: 200 },
    )
  })
})
