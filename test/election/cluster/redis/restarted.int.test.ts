import { randomUUID } from 'node:crypto'
import { silentLogger } from 'concordat/core'
import { redisStateStore } from 'concordat/redis'
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'

describeWith(['redis'], 'the members in a Redis that restarted', () => {
  it('get their full time anew, once', async () => {
    const client = new Redis(serverUrl('redis') as string)
    const base = `test-${randomUUID()}:`
    const store = redisStateStore({ client, prefix: base, logger: silentLogger })
    onTestFinished(async () => {
      await store.close()
      await client.del(await client.keys(`${base}*`))
      client.disconnect()
    })
    const timing = { suspectAfterMs: 60_000, deadAfterMs: 120_000 }
    await store.join({ cluster: 'c', instance: 'a', joinId: 'j', json: '{}', ...timing })
    await store.sweep('c', timing.suspectAfterMs)
    const statusAfterItsTime = async () => {
      await client.zadd(`${base}{c}:due:members`, 1, 'a')
      await store.sweep('c', timing.suspectAfterMs)
      return (await store.members('c')).records[0]?.status
    }
    // The last sweep was in an earlier run of the server.
    await client.hset(`${base}{c}:meta:members`, 'run', 'f00')
    expect(await statusAfterItsTime()).toBe('alive')
    expect(await statusAfterItsTime()).toBe('suspect')
  })
})
