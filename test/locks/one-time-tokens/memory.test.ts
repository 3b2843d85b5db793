import { createTokens } from 'concordat/locks'
import { memoryTokens } from 'concordat/memory'
import { postgresTokens } from 'concordat/postgres'
import { redisTokens } from 'concordat/redis'
import { expect, test } from 'vitest'
import { tokensConformance } from '../../conformance/tokens.ts'

tokensConformance('memory', async () => {
  const store = memoryTokens()
  return { stores: [store, store], contents: async () => JSON.stringify(store), close: async () => undefined }
})

test('a token is over by the clock of the store, and forgotten an hour later', async () => {
  let now = 1_000
  const reasons: unknown[] = []
  const hear = ({ reason }: Readonly<Record<string, unknown>>): void => void reasons.push(reason)
  const logger = { debug: hear, info: hear, warn: hear, error: hear }
  await using tokens = createTokens({ store: memoryTokens({ clock: { now: () => now } }), logger })
  const { token, expiresAt } = await tokens.issue('a', 1, 500)
  expect(expiresAt).toBe(1_500)
  now = 1_500
  await expect(tokens.redeem('a', token)).rejects.toThrow('issue a new one')
  now += 60 * 60 * 1_000
  await tokens.issue('a', 1, 500)
  await expect(tokens.redeem('a', token)).rejects.toThrow('issue a new one')
  expect(reasons).toEqual(['expired', 'unknown'])
})

test.each([
  ['no store', () => createTokens({} as never), 'createTokens.store: expected redisTokens(...), postgresTokens(...)'],
  ['no client', () => postgresTokens({ sql: {} } as never), 'postgresTokens.sql: expected a SqlClient'],
  ['no address', () => redisTokens({}), 'redisTokens: expected either client'],
  [
    'no replica',
    () => redisTokens({ url: 'redis://localhost', replicas: { count: 0 } }),
    'redisTokens.replicas.count: expected a whole number >= 1, got 0',
  ],
])('the memory store refuses %s', (_, make, message) => {
  expect(make).toThrow(message)
})

test('a transaction is refused by a store without transactions', async () => {
  await using tokens = createTokens({ store: memoryTokens() })
  await expect(tokens.issue('a', 1, 1, { tx: {} as never })).rejects.toThrow(
    'tokens.issue.tx: expected no transaction: memory has none. Use postgresTokens({ sql }), got another object',
  )
})
