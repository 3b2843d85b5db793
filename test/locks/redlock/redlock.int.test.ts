import { randomUUID } from 'node:crypto'
import { redlockLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { type LocksHarness, locksConformance } from '../../conformance/locks.ts'
import { describeWith, startServer } from '../../support/servers/index.ts'

describeWith(['redis'], 'a quorum of three Redis servers', { private: true }, () => {
  const setup = async (): Promise<LocksHarness> => {
    const servers = await Promise.all([startServer('redis'), startServer('redis'), startServer('redis')])
    const clients = servers.map(({ url }) => new Redis(url))
    const prefix = `test-${randomUUID()}:`
    return {
      contender: (options) => redlockLocks({ ...options, clients, prefix, restartGraceMs: 0 }),
      leftovers: async () => {
        const all = await Promise.all(
          clients.map(async (client) => {
            const keys = await client.keys(`${prefix}*`)
            const expiring = await Promise.all(keys.map(async (key) => (await client.pttl(key)) > 0))
            // Tombstones live for a minute by themselves.
            return keys.filter((key, n) => !key.endsWith(':fence') && !(key.includes(':dead:') && expiring[n]))
          }),
        )
        return all.flat()
      },
      close: async () => {
        for (const client of clients) client.disconnect()
        await Promise.all(servers.map((server) => server.stop()))
      },
    }
  }

  locksConformance('redlock', setup, ['fifo', 'shared', 'operator'])
})
