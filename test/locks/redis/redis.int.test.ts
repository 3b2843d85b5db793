import { randomUUID } from 'node:crypto'
import { redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { locksConformance } from '../../conformance/locks.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

describeWith(['redis'], 'Redis', () => {
  locksConformance('redis', async () => {
    const client = new Redis(serverUrl('redis') as string)
    const prefix = `test-${randomUUID()}:`
    return {
      contender: (options) => redisLocks({ ...options, client, prefix }),
      leftovers: async () => {
        const keys = await client.keys(`${prefix}*`)
        const expiring = await Promise.all(keys.map(async (key) => (await client.pttl(key)) > 0))
        // Tombstones live for a minute by themselves.
        return keys.filter((key, n) => !/:(fence|audit)$/.test(key) && !(key.includes(':dead:') && expiring[n]))
      },
      close: async () => {
        const keys = await client.keys(`${prefix}*`)
        if (keys.length > 0) await client.del(keys)
        client.disconnect()
      },
    }
  })
})
