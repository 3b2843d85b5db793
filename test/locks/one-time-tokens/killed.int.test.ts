import { pgClient } from 'concordat/core/pg'
import { createTokens, type Tokens } from 'concordat/locks'
import { postgresTokens } from 'concordat/postgres'
import { redisTokens } from 'concordat/redis'
import pg from 'pg'
import { expect, test } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'

const KEPT = { appendonly: 'yes', appendfsync: 'always' }

/**
 * Kills a server while many redeem: redeemed tokens stay redeemed, the others are still valid, and none is redeemed
 * twice.
 */
async function survives(server: PrivateServer, tokens: Tokens, reach: () => Promise<void>): Promise<void> {
  const issued = await Promise.all(Array.from({ length: 40 }, (_, n) => tokens.issue('a', n, 600_000)))
  const got: unknown[] = []
  const redeemAll = () =>
    Promise.all(
      issued.map(({ token }) =>
        tokens.redeem('a', token).then(
          (n) => void got.push(n),
          () => undefined,
        ),
      ),
    )
  const first = issued.slice(0, 10)
  for (const { token } of first) got.push(await tokens.redeem('a', token))
  const racing = redeemAll()
  await server.kill()
  await racing
  await server.start()
  await reach()
  await redeemAll()
  await redeemAll()
  expect(new Set(got).size).toBe(got.length)
  // A token whose answer was lost with the server may be used up without a receiver, and no other.
  expect(got.length).toBeGreaterThanOrEqual(10)
  for (const { token } of issued)
    await expect(tokens.redeem('a', token)).rejects.toMatchObject({ code: 'tokens.refused' })
}

async function insist(call: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return void (await call())
    } catch (error) {
      if (tries > 500) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

describeWith(['redis'], 'a Redis that keeps every write, killed', () => {
  test('redeems nothing twice', async () => {
    await using server = await startServer('redis', { settings: KEPT })
    await using tokens = createTokens({ store: redisTokens({ url: server.url }) })
    await survives(server, tokens, () => insist(() => tokens.issue('b', 1, 1_000)))
  })
})

describeWith(['postgres'], 'a PostgreSQL, killed', () => {
  test('redeems nothing twice', async () => {
    await using server = await startServer('postgres')
    const pool = new pg.Pool({ connectionString: server.url, max: 10 })
    pool.on('error', () => undefined)
    const store = postgresTokens({ sql: pgClient(pool) })
    await store.migrate()
    await using tokens = createTokens({ store })
    await survives(server, tokens, () => insist(() => tokens.issue('b', 1, 1_000)))
    await pool.end()
  })
})
