import { Cluster, Redis } from 'ioredis'
import { expectTypeOf, test } from 'vitest'
import type { RedisClient } from '../support/inside/core.ts'

test('an ioredis client is a RedisClient', () => {
  expectTypeOf<Redis>().toExtend<RedisClient>()
  expectTypeOf<ReturnType<Redis['duplicate']>>().toExtend<ReturnType<RedisClient['duplicate']>>()
})

test('an ioredis cluster client is a RedisClient, a client of another library is not', () => {
  expectTypeOf<Cluster>().toExtend<RedisClient>()
  expectTypeOf<{ duplicate(): { evalSha(): Promise<unknown> } }>().not.toExtend<RedisClient>()
})
