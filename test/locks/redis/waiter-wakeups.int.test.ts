import { randomUUID } from 'node:crypto'
import type { Claim } from 'concordat/extension'
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { redisStore } from '../../support/locks/redis-table.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

describeWith(['redis'], 'a wake-up that comes after its waiter was let in', () => {
  it('leaves a reader all that is known of its grant', async () => {
    const client = new Redis(serverUrl('redis') as string)
    const prefix = `test-${randomUUID()}:`
    const store = redisStore(client, prefix)
    onTestFinished(async () => {
      await store.close()
      const keys = await client.keys(`${prefix}*`)
      if (keys.length > 0) await client.del(keys)
      client.disconnect()
    })
    const terms = { owner: 'reader', mode: 'shared', limit: Number.POSITIVE_INFINITY, lockDelayMs: 0 } as const
    const claim = (): Claim => ({ ...terms, key: 'k', value: store.newValue(terms) })
    const reader = claim()
    // The waiter listened, was granted by an attempt of its own, and listens no longer.
    const stop = await store.listen(reader.value, () => {})
    const granted = await store.acquire(reader, { ttlMs: 5_000, tokenFloor: 0, keepPlaceMs: 0 })
    stop()
    // From now on the server knows the script that passes the wake-up on: it is a single command.
    await store.abandon(claim(), 0)
    const before = await store.inspect('k')
    expect(before?.holders).toMatchObject([granted.status === 'granted' ? { token: granted.token } : {}])
    const passedOn = new Promise<void>((resolve) => store.onDoubt(() => resolve()))
    await client.publish(`${prefix}turn:${reader.value.split('.')[0]}`, `${reader.value} ${prefix}{k}`)
    await passedOn
    const [{ token, sinceAt } = {}] = (await store.inspect('k'))?.holders ?? []
    expect([token, sinceAt]).toEqual([before?.holders[0]?.token, before?.holders[0]?.sinceAt])
  })
})
