/** The lock in shared mode: readers and the holders of permits. Keys: `scripts.ts`. */
import { LINE, NEXT_TOKEN, TOMBSTONE } from './scripts-line.ts'

/**
 * KEYS lock fence line shared notes dead   ARGV value hold_ms floor keep_place_ms turn
 * -> as ACQUIRE
 *
 * Invariants: nobody holds the lock exclusively, and with the new one no more hold it than its own limit; nobody alive
 * waits before it; a grant that leaves room for the next in line wakes it, so waiters that may be in together get in
 * together. Tokens, asking again and giving up as in ACQUIRE.
 */
export const ACQUIRE_SHARED = `
local lock, fence, line, shared, notes, dead = unpack(KEYS)
local me, hold, floor, keep, turn = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
${LINE}
local held = {redis.call('GET', lock), redis.call('GET', fence)}
local given_up = redis.call('GET', dead)
if given_up then return given_up end
local function hold_on()
  redis.call('ZADD', shared, string.format('%.0f', now + hold), me)
  lasts(shared, hold)
  lasts(notes, hold)
end
if tonumber(redis.call('ZSCORE', shared, me) or 0) > now then
  hold_on()
  return tonumber(string.match(redis.call('HGET', notes, me), '^%d+'))
end
local answer = barred(held[1], limit_of(me), keep, '')
if answer then return answer end
local last_token = tonumber(held[2]) or tonumber(string.match(held[2] or '0', '^%d+'))
${NEXT_TOKEN}
redis.call('SET', fence, stamp)
redis.call('HSET', notes, me, stamp)
hold_on()
if redis.call('EXISTS', line) == 1 then first_in_line(redis.call('ZCARD', shared)) end
return token
`

/** KEYS shared notes dead   ARGV value hold_ms   -> as EXTEND */
export const EXTEND_SHARED = `
local shared, notes, me, hold = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(redis.call('ZSCORE', shared, me) or 0) <= now then return redis.call('GET', KEYS[3]) or 0 end
-- Redis with a full memory refuses ZADD, but not after PEXPIRE has written: what is held stays held.
for _, key in ipairs({shared, notes}) do
  redis.call('PEXPIRE', key, math.max(hold, redis.call('PTTL', key)))
end
redis.call('ZADD', shared, string.format('%.0f', now + hold), me)
return 1
`

/** KEYS lock line shared notes dead   ARGV value forget_after_ms turn   -> as RELEASE; wakes whom there is room for */
export const RELEASE_SHARED = `
local lock, line, shared, notes, dead = unpack(KEYS)
local me, turn = '', ARGV[3]
${LINE}
local ours = tonumber(redis.call('ZSCORE', shared, ARGV[1]) or 0) > now
local given_up = not ours and redis.call('GET', dead)
if ours then
  redis.call('ZREM', shared, ARGV[1])
  redis.call('HDEL', notes, ARGV[1])
end
if ARGV[2] ~= '0' and not given_up then ${TOMBSTONE('dead', 'ARGV[2]')} end
if not ours then return given_up or 0 end
if redis.call('EXISTS', line) == 1 then first_in_line(count_shared()) end
return 1
`
