import { createTokens } from 'concordat/locks'
import { redisTokens } from 'concordat/redis'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { tokensConformance } from '../../conformance/tokens.ts'
import { uniqueName } from '../../outbox/support/messages.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

describeWith(['redis'], 'tokens on Redis', () => {
  tokensConformance('Redis', async () => {
    const url = serverUrl('redis') as string
    const prefix = `${uniqueName('tokens')}:`
    const client = new Redis(url, { lazyConnect: true })
    return {
      stores: [redisTokens({ url, prefix }), redisTokens({ client, prefix })],
      async contents() {
        const keys = await client.keys(`${prefix}*`)
        return JSON.stringify(await Promise.all(keys.map(async (key) => [key, await client.hgetall(key)])))
      },
      async close() {
        client.disconnect()
      },
    }
  })

  test('a key goes an hour after its token was over', async () => {
    const url = serverUrl('redis') as string
    const prefix = `${uniqueName('tokens')}:`
    await using tokens = createTokens({ store: redisTokens({ url, prefix }) })
    await tokens.issue('a', 1, 60_000)
    const client = new Redis(url)
    const [key = ''] = await client.keys(`${prefix}*`)
    const left = await client.pttl(key)
    client.disconnect()
    expect(left).toBeGreaterThan(3_600_000)
    expect(left).toBeLessThanOrEqual(3_660_000)
  })

  test('grants no token or payload without the requested replicas', async () => {
    const url = serverUrl('redis') as string
    const prefix = `${uniqueName('tokens')}:`
    await using alone = createTokens({ store: redisTokens({ url, prefix }) })
    await using careful = createTokens({ store: redisTokens({ url, prefix, replicas: { count: 1, timeoutMs: 20 } }) })
    const unavailable = { code: 'tokens.store_unavailable', outcome: 'unknown' }
    await expect(careful.issue('a', 1, 60_000)).rejects.toMatchObject(unavailable)
    const { token } = await alone.issue('a', 1, 60_000)
    await expect(careful.redeem('a', token)).rejects.toMatchObject(unavailable)
    await expect(alone.redeem('a', token)).rejects.toMatchObject({ code: 'tokens.refused' })
  })
})
