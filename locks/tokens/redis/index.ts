/**
 * Tokens on Redis 6.2 or later, through ioredis, one connection.
 *
 * @module
 */
export type { RedisClient, RedisConnectionClient } from '../../../core/redis/client.ts'
export { type RedisTokensOptions, redisTokens, type TokenReplicas } from './redis-tokens.ts'
