/**
 * Every state change of a lock is one of these scripts, so it is atomic and Redis's own clock decides.
 *
 * Keys of lock `k`, all in one slot through the hash tag:
 *   {k}          string  value of the holder, PX = the lease                 <client>.<random>.<owner>
 *   {k}:fence    string  last token granted; never expires, or tokens could repeat
 *   {k}:line     zset    waiters (values), scored by order of arrival
 *   {k}:places   hash    waiter -> until when its place is kept, ms of server time
 *   {k}:dead:<v> string  value v was given up; a straggling request for it is refused
 *
 * A waiter is woken by name: `PUBLISH <channel of its client> "<value> <lock key>"`. The number of receivers tells at
 * once whether its process is still connected.
 */

/** Names of the scripts' keys for one lock and one value. */
export interface LockKeys {
  readonly lock: string
  readonly fence: string
  readonly line: string
  readonly places: string
}

/**
 * first_in_line: the first waiter that is alive, woken unless it is the caller itself. Dead ones are removed on the way,
 * so the cost is constant but for each death. A waiter is alive while its place is kept and its process is subscribed.
 */
const FIRST_IN_LINE = `
local function server_time_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function leave(line, places, value)
  redis.call('ZREM', line, value)
  redis.call('HDEL', places, value)
end
local function first_in_line(lock, line, places, channel, me, now)
  while true do
    local first = redis.call('ZRANGE', line, 0, 0)[1]
    if not first or first == me then return first end
    local kept_until = tonumber(redis.call('HGET', places, first) or 0)
    local client = string.match(first, '^[^.]+')
    if kept_until > now and redis.call('PUBLISH', channel .. client, first .. ' ' .. lock) > 0 then return first end
    leave(line, places, first)
  end
end
`

/**
 * KEYS lock fence line places dead   ARGV value ttl_ms floor keep_place_ms channel
 * -> {1, token} granted | {0, retry_after_ms, position or -1, value in the way} | {2} given up before
 *
 * Invariants: at most one value holds the lock; a token is greater than every token before it, also after FLUSHALL or a
 * clock set back (`floor`); the lock goes to the first live waiter, or to a newcomer only if there is none; the same
 * value asking again gets the same grant, its time counted anew; a value given up gets nothing.
 */
export const ACQUIRE = `
local lock, fence, line, dead, me = KEYS[1], KEYS[2], KEYS[3], KEYS[5], ARGV[1]
local held = redis.call('MGET', lock, fence)
if held[1] or redis.call('EXISTS', line, dead) > 0 then
  if held[1] == me and held[2] then
    redis.call('PEXPIRE', lock, ARGV[2])
    return {1, tonumber(held[2])}
  end
  if redis.call('EXISTS', dead) == 1 then return {2} end
  ${FIRST_IN_LINE}
  local places, keep, now, first = KEYS[4], tonumber(ARGV[4]), server_time_ms(), nil
  if not held[1] then first = first_in_line(lock, line, places, ARGV[5], me, now) end
  if held[1] or (first and first ~= me) then
    if keep > 0 then
      if not redis.call('ZSCORE', line, me) then
        local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')
        redis.call('ZADD', line, (tonumber(last[2]) or 0) + 1, me)
      end
      redis.call('HSET', places, me, string.format('%.0f', now + keep))
      local expiry = math.max(keep, redis.call('PTTL', line))
      redis.call('PEXPIRE', line, expiry)
      redis.call('PEXPIRE', places, expiry)
    end
    local retry_after = first and tonumber(redis.call('HGET', places, first)) - now or redis.call('PTTL', lock)
    return {0, retry_after, redis.call('ZRANK', line, me) or -1, held[1] or first}
  end
  leave(line, places, me)
end
local time = redis.call('TIME')
local token = math.max((tonumber(held[2]) or 0) + 1, time[1] * 1000000 + time[2], ARGV[3] + 1)
redis.call('SET', fence, string.format('%.0f', token))
redis.call('SET', lock, me, 'PX', ARGV[2])
return {1, token}
`

/**
 * KEYS lock   ARGV value ttl_ms   -> 1 extended | 0 not ours
 *
 * Invariant: only the holder's time is ever prolonged; a lock that expired is not revived.
 */
export const EXTEND = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`

/**
 * KEYS lock line places dead   ARGV value forget_after_ms channel   -> 1 released | 0 not ours
 *
 * Invariants: only the holder frees the lock; freeing it wakes exactly the first live waiter.
 */
export const RELEASE = `
local ours = redis.call('GET', KEYS[1]) == ARGV[1]
if ARGV[2] ~= '0' then redis.call('SET', KEYS[4], 1, 'PX', ARGV[2]) end
if not ours then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  ${FIRST_IN_LINE}
  first_in_line(KEYS[1], KEYS[2], KEYS[3], ARGV[3], '', server_time_ms())
end
return 1
`

/**
 * KEYS lock line places dead   ARGV value forget_after_ms channel free_lock(1|0)   -> 1
 *
 * Invariants: afterwards the value has no place in the line and (with free_lock) no lock, and straggling requests for it
 * find that out; if the lock is free the first live waiter has been woken, so that no wake-up ends with the waiter it
 * was meant for.
 */
export const ABANDON = `${FIRST_IN_LINE}
local lock, line, places = KEYS[1], KEYS[2], KEYS[3]
if ARGV[4] == '1' and redis.call('GET', lock) == ARGV[1] then redis.call('DEL', lock) end
leave(line, places, ARGV[1])
if ARGV[2] ~= '0' then redis.call('SET', KEYS[4], 1, 'PX', ARGV[2]) end
if redis.call('EXISTS', lock) == 0 and redis.call('EXISTS', line) == 1 then
  first_in_line(lock, line, places, ARGV[3], '', server_time_ms())
end
return 1
`

/** KEYS lock fence line   -> {value, token, expires_in_ms, waiting}, or nil when free. One script: they belong together. */
export const INSPECT = `
local held = redis.call('MGET', KEYS[1], KEYS[2])
if not held[1] then return nil end
return {held[1], held[2], redis.call('PTTL', KEYS[1]), redis.call('ZCARD', KEYS[3])}
`
