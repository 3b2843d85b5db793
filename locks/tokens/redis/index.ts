/**
 * Tokens on Redis 6.2 or later, through ioredis, one connection.
 *
 * @module
 */
export { redisTokens } from './redis-tokens.ts'
