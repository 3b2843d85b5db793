import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, it } from 'vitest'
import { expectAsMemory } from '../../support/locks/as-memory.ts'
import { redisTable } from '../../support/locks/redis-table.ts'
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

  it('keep the contract, and answer exactly as the memory server does', () => expectAsMemory(table, false, 600))

  it('do so also when waiters miss their heartbeats', () => expectAsMemory(table, true, 200))
})
