import { redisFence, redisLocks, redisStateStore, redisTokens } from 'concordat/redis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { drain } from '../../support/locks/fake-clock.ts'
import { FakeRedis } from '../../support/locks/fake-redis.ts'
import { LogLines } from '../../support/log-lines.ts'

type Options = Parameters<typeof redisLocks>[0]

/** Each store of Redis with one call that connects it; the fake server has no sensible answer to it. */
const STORES: Readonly<Record<string, (options: Options) => { close(): Promise<void> }>> = {
  locks: (options) => calling(redisLocks(options), (locks) => locks.tryAcquire('k')),
  fence: (options) => calling(redisFence(options), (fence) => fence.lastToken('r')),
  'cluster state': (options) => calling(redisStateStore(options), (store) => store.members('c')),
  'one-time tokens': (options) => calling(redisTokens(options), (tokens) => tokens.take('hash')),
}

function calling<T>(store: T, call: (store: T) => Promise<unknown>): T {
  call(store).catch(() => {})
  return store
}

async function warningsOf(kind: string, info: string | Error): Promise<readonly string[]> {
  const [server, log] = [new FakeRedis(info), new LogLines()]
  const store = (STORES[kind] as (typeof STORES)[string])({ client: server.client, logger: log.logger })
  onTestFinished(() => store.close())
  await drain()
  server.reconnect()
  await drain()
  return log.lines.map(({ message }) => message).filter((message) => message.includes('noeviction'))
}

const evicting = (policy: string): string => `run_id:a\r\nmaxmemory:1000\r\nmaxmemory_policy:${policy}\r\n`

describe.each(Object.keys(STORES))('the Redis store of %s', (kind) => {
  it('warns once of a server that may evict what it stores', async () => {
    const warnings = await warningsOf(kind, evicting('allkeys-lru'))
    expect(warnings).toEqual([expect.stringMatching(/^Redis may evict .*: set maxmemory-policy noeviction$/)])
  })

  it('warns once of a server that does not tell its settings', async () => {
    const refusal = Object.assign(new Error('NOPERM no permissions to run info'), { name: 'ReplyError' })
    expect(await warningsOf(kind, refusal)).toEqual([expect.stringContaining('Redis does not tell its settings')])
  })

  it('does not warn of a server that evicts nothing', async () => {
    expect(await warningsOf(kind, evicting('noeviction'))).toEqual([])
  })
})

it('the warning tells the address of the server', async () => {
  const [server, log] = [new FakeRedis(evicting('allkeys-lru')), new LogLines()]
  const locks = redisLocks({ client: server.client, logger: log.logger })
  onTestFinished(() => locks.close())
  locks.tryAcquire('k').catch(() => {})
  await drain()
  const warning = log.lines.find(({ message }) => message.includes('noeviction'))
  expect(warning?.fields).toMatchObject({ server: '10.0.0.7:6379', policy: 'allkeys-lru' })
})

it('a fence is not endangered by a policy that evicts only keys that expire', async () => {
  expect(await warningsOf('fence', evicting('volatile-lru'))).toEqual([])
  expect(await warningsOf('locks', evicting('volatile-lru'))).toHaveLength(1)
})
