import type { RedisClient } from 'concordat/locks/redis'
import { Redis } from 'ioredis'
import { expectTypeOf, test } from 'vitest'

test('an ioredis client is a RedisClient', () => {
  expectTypeOf<Redis>().toExtend<RedisClient>()
  expectTypeOf<ReturnType<Redis['duplicate']>>().toExtend<ReturnType<RedisClient['duplicate']>>()
})
