/**
 * A token is one key, `<prefix><hash>`: a hash with `payload` and `expires`, or `expires` and `used` when it was redeemed. It outlives
 * its end for a while, so that the log can tell what was expired or used from what never was.
 */
import { defineScript, type Script } from '../../../core/redis/connection.ts'

const NOW = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/** KEYS token   ARGV payload ttl_ms remembered_ms   -> when it expires, epoch ms */
export const PUT: Script = defineScript(`
${NOW}
local expires = now + ARGV[2]
redis.call('HSET', KEYS[1], 'payload', ARGV[1], 'expires', string.format('%.0f', expires))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', expires + ARGV[3]))
return string.format('%.0f', expires)`)

/** KEYS token   -> {'taken', payload} | {'unknown' | 'used' | 'expired'} */
export const TAKE: Script = defineScript(`
${NOW}
local kept = redis.call('HMGET', KEYS[1], 'payload', 'expires', 'used')
if not kept[2] then return {'unknown'} end
if kept[3] or not kept[1] then return {'used'} end
if tonumber(kept[2]) <= now then return {'expired'} end
redis.call('HSET', KEYS[1], 'used', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'payload')
return {'taken', kept[1]}`)
