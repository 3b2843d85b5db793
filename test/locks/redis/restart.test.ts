// oxlint-disable no-restricted-imports -- inside of the Redis locks: with answers of INFO at a given time
import { silentLogger } from 'concordat/core'
import { expect, test } from 'vitest'
import { RedisConnection } from '../../../core/redis/connection.ts'
import { RestartGuard } from '../../../locks/redis/restart.ts'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { FakeRedis } from '../../support/locks/fake-redis.ts'

test('a server whose uptime may be a second too long grants a second later', async () => {
  const [clock, server] = [new FakeClock(), new FakeRedis('run_id:a\r\nuptime_in_seconds:4\r\n')]
  const connection = new RedisConnection({
    client: async () => server.client,
    name: 'test',
    answerMs: 50,
    clock,
    logger: silentLogger,
    errors: { unavailable: (_outcome, detail) => new Error(detail), refused: (cause) => cause },
  })
  const guard = new RestartGuard(connection, 4_000, clock, silentLogger)
  await expect(guard.requireSettled('k')).rejects.toMatchObject({ code: 'locks.store_unavailable' })
  await clock.advance(999)
  await expect(guard.requireSettled('k')).rejects.toMatchObject({ code: 'locks.store_unavailable' })
  await clock.advance(1)
  await guard.requireSettled('k')
})
