import { randomUUID } from 'node:crypto'
import { redisStateStore } from 'concordat/redis'
import { Redis } from 'ioredis'
import { clusterConformance } from '../../../conformance/cluster.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'

describeWith(['redis'], 'Redis', () => {
  clusterConformance('redis', async () => {
    const client = new Redis(serverUrl('redis') as string)
    const prefix = `test-${randomUUID()}:`
    const wipe = async (): Promise<void> => {
      const keys = await client.keys(`${prefix}*`)
      if (keys.length > 0) await client.del(keys)
    }
    return {
      store: () => redisStateStore({ client, prefix }),
      wipe,
      close: async () => {
        await wipe()
        client.disconnect()
      },
    }
  })
})
