import { randomUUID } from 'node:crypto'
import { systemClock } from 'concordat/core'
import type { ClusterStore } from 'concordat/extension'
import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { redisStateStore } from 'concordat/redis'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { Driver, step } from '../../support/cluster/driver.ts'
import { clusterDatabase } from '../../support/cluster/on-postgres.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

/** Checks that the memory store answers every operation like the other store. */
async function alike(other: ClusterStore, numRuns: number): Promise<void> {
  // A millisecond per step: revisions of different logs must not be equal by chance, since they are compared by order
  // only.
  let now = Date.now()
  const clock = { ...systemClock, now: () => now++ }
  const memory = memoryStateStore({ server: memoryStateServer({ clock }) })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      const cluster = randomUUID()
      const drivers = [new Driver(memory, cluster), new Driver(other, cluster)] as const
      for (const one of steps) {
        const [told, real] = await Promise.all(drivers.map((driver) => driver.take(one)))
        expect(told, JSON.stringify(one)).toEqual(real)
      }
      const [told, real] = await Promise.all(drivers.map((driver) => driver.end()))
      expect(told).toEqual(real)
    }),
    { numRuns },
  )
}

describeWith(['redis'], 'the memory store', () => {
  it('answers as Redis does, step by step, for all operations', async () => {
    const client = new Redis(serverUrl('redis') as string)
    const prefix = `test-${randomUUID()}:`
    const redis = redisStateStore({ client, prefix })
    try {
      await alike(redis, 300)
    } finally {
      await redis.close()
      const keys = await client.keys(`${prefix}*`)
      for (let n = 0; n < keys.length; n += 500) await client.del(keys.slice(n, n + 500))
      client.disconnect()
    }
  })
})

describeWith(['postgres'], 'the memory store', () => {
  it('answers as PostgreSQL does, step by step, for all operations', async () => {
    const database = await clusterDatabase()
    const store = database.store({ listens: false })
    try {
      await alike(store, 200)
    } finally {
      await store.close()
      await database.drop()
    }
  })
})
