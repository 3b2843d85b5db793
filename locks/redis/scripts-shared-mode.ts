/** The lock in shared mode: readers and the holders of permits. Keys: `scripts-exclusive.ts`. */
import { ENDS_BELOW, LINE, TAKE_TOKEN, TOKEN_OF_TIME, TOMBSTONE } from './scripts-wait-queue.ts'

/**
 * KEYS lock fence line shared notes dead   ARGV value hold_ms floor keep_place_ms turn
 * -> as ACQUIRE
 *
 * Invariants: the lock has no exclusive holder, and with the new one no more holders than its own limit; no live waiter is ahead of it;
 * a grant that leaves room for the next in line wakes it, so waiters that fit together get in together. Tokens, asking again and giving
 * up as in ACQUIRE.
 */
export const ACQUIRE_SHARED = `
local call, lock, fence, line, shared, notes, dead = redis.call, unpack(KEYS)
local me, hold, floor, keep, turn = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local exclusive, last = call('GET', lock), call('GET', fence)
${LINE}
local given_up = call('GET', dead)
if given_up then return given_up end
local ends = string.format('%.0f', now + hold)
if tonumber(call('ZSCORE', shared, me) or 0) > now then
  call('ZADD', shared, ends, me)
  lasts(shared, hold)
  return tonumber(call('ZSCORE', shared, '#' .. me))
end
local answer = barred(exclusive, limit_of(me), keep, '')
if answer then return answer end
local last_token, time = tonumber(last) or tonumber(string.match(last or '0', '^%d+')), now_time
${TOKEN_OF_TIME}
call('SET', fence, stamp)
call('ZADD', shared, ends, me, string.format('%.0f', token), '#' .. me)
if stamp ~= now_us then call('ZADD', shared, now_us, '@' .. me) end
lasts(shared, hold)
if call('EXISTS', line) == 1 then first_in_line(count_shared()) end
return token
`

/**
 * ACQUIRE_SHARED for a caller that wants no place in the line, when there are no waiters and all holders are shared and alive.
 *
 * KEYS lock fence line shared dead   ARGV value hold_ms floor most(as many others may be in; '': no limit)
 * -> token: granted | {retry_after_ms, -1, value in the way} | nil: not that simple, nothing was granted, ask ACQUIRE_SHARED
 */
export const ACQUIRE_SHARED_IDLE = `
local call, lock, fence, shared, me, hold, floor = redis.call, KEYS[1], KEYS[2], KEYS[4], ARGV[1], ARGV[2], ARGV[3]
if call('EXISTS', lock, KEYS[3], KEYS[5]) > 0 then
  local held = call('GET', lock)
  return held and {call('PTTL', lock), -1, held} or nil
end
local first = call('ZRANGE', shared, '0', '0', 'WITHSCORES')
if first[1] and ARGV[4] ~= '' then
  local full = call('ZRANGE', shared, ARGV[4], ARGV[4], 'WITHSCORES')[2]
  if full and tonumber(full) < ${ENDS_BELOW} then return nil end
end
${TAKE_TOKEN}
local now = (time[1] .. string.sub(micros, 1, 3)) + 0
if first[1] and tonumber(first[2]) <= now then return nil end
local written = stamp == now_us and stamp or string.format('%.0f', token)
-- None is added when it is in already. Then a token was left out.
if call('ZADD', shared, 'NX', string.format('%.0f', now + hold), me, written, '#' .. me) == 0 then return nil end
if stamp ~= now_us then call('ZADD', shared, now_us, '@' .. me) end
if not first[1] or call('PTTL', shared) < hold + 0 then call('PEXPIRE', shared, hold) end
return token
`

/** KEYS shared dead   ARGV value hold_ms   -> as EXTEND */
export const EXTEND_SHARED = `
local shared, me, hold = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(redis.call('ZSCORE', shared, me) or 0) <= now then return redis.call('GET', KEYS[2]) or 0 end
-- Redis with a full memory refuses ZADD, but not after PEXPIRE has written: what is held stays held.
redis.call('PEXPIRE', shared, math.max(hold, redis.call('PTTL', shared)))
redis.call('ZADD', shared, string.format('%.0f', now + hold), me)
return 1
`

/** KEYS lock line shared notes dead   ARGV value forget_after_ms turn   -> as RELEASE; wakes whom there is room for */
export const RELEASE_SHARED = `
local call, lock, line, shared, notes, dead, turn, me = redis.call, KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[3], ''
${LINE}
local ours = tonumber(call('ZSCORE', shared, ARGV[1]) or 0) > now
local given_up = not ours and call('GET', dead)
if ours then leave_shared(ARGV[1]) end
if ARGV[2] ~= '0' and not given_up then ${TOMBSTONE('dead', 'ARGV[2]')} end
if not ours then return given_up or 0 end
if call('EXISTS', line) == 1 then first_in_line(count_shared()) end
return 1
`

/**
 * RELEASE_SHARED of a value without any other request under way. An expired value that was not swept yet is still in: its room was not
 * given away.
 *
 * KEYS lock line shared notes   ARGV value turn   -> 1 released | nil: not ours, nothing was done, ask RELEASE_SHARED
 */
export const RELEASE_SHARED_CERTAIN = `
local call, line, shared = redis.call, KEYS[2], KEYS[3]
if call('ZREM', shared, ARGV[1], '#' .. ARGV[1], '@' .. ARGV[1]) == 0 then return nil end
if call('EXISTS', line) == 1 then
  local lock, notes, turn, me = KEYS[1], KEYS[4], ARGV[2], ''
  ${LINE}
  first_in_line(count_shared())
end
return 1
`
