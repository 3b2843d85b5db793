/** The lock in shared mode: readers and the holders of permits. Keys: `scripts.ts`. */
import { LINE, TOKEN_OF_TIME, TOMBSTONE } from './scripts-line.ts'

/**
 * KEYS lock fence line shared notes dead   ARGV value hold_ms floor keep_place_ms turn
 * -> as ACQUIRE
 *
 * Invariants: nobody holds the lock exclusively, and with the new one no more hold it than its own limit; nobody alive
 * waits before it; a grant that leaves room for the next in line wakes it, so waiters that may be in together get in
 * together. Tokens, asking again and giving up as in ACQUIRE.
 */
export const ACQUIRE_SHARED = `
local call, lock, fence, line, shared, notes, dead = redis.call, unpack(KEYS)
local me, hold, floor = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local last, time, wake_next = call('GET', fence), call('TIME'), nil
-- Those whose time is over are among them.
local holding = call('ZCARD', shared)
local plain = call('EXISTS', lock, line, dead) == 0
if plain and holding > 0 then
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local kind, limit = string.match(me, '^[^.]+%.[^.]+%.(%a)(%d*)')
  plain = (kind == 's' or holding < tonumber(limit))
    and tonumber(call('ZRANGE', shared, 0, 0, 'WITHSCORES')[2]) > now and not call('ZSCORE', shared, me)
end
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + hold
if not plain then
  local exclusive, keep, turn = call('GET', lock), tonumber(ARGV[4]), ARGV[5]
  ${LINE}
  local given_up = call('GET', dead)
  if given_up then return given_up end
  if tonumber(call('ZSCORE', shared, me) or 0) > now then
    call('ZADD', shared, ends, me)
    lasts(shared, hold)
    lasts(notes, hold)
    return tonumber(string.match(call('HGET', notes, me), '^%d+'))
  end
  local answer = barred(exclusive, limit_of(me), keep, '')
  if answer then return answer end
  wake_next = function()
    lasts(shared, hold)
    lasts(notes, hold)
    if call('EXISTS', line) == 1 then first_in_line(call('ZCARD', shared)) end
  end
end
local last_token = tonumber(last) or tonumber(string.match(last or '0', '^%d+'))
${TOKEN_OF_TIME}
call('SET', fence, stamp)
call('HSET', notes, me, stamp)
call('ZADD', shared, ends, me)
if wake_next then
  wake_next()
elseif holding == 0 or call('PTTL', shared) < hold then
  -- Nobody waits, so the notes are those of the holders, and last as long as they do.
  call('PEXPIRE', shared, hold)
  call('PEXPIRE', notes, hold)
end
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
local call, lock, line, shared, notes, dead = redis.call, unpack(KEYS)
local time = call('TIME')
local ours = tonumber(call('ZSCORE', shared, ARGV[1]) or 0) > time[1] * 1000 + math.floor(time[2] / 1000)
local given_up = not ours and call('GET', dead)
if ours then
  call('ZREM', shared, ARGV[1])
  call('HDEL', notes, ARGV[1])
end
if ARGV[2] ~= '0' and not given_up then ${TOMBSTONE('dead', 'ARGV[2]')} end
if not ours then return given_up or 0 end
if call('EXISTS', line) == 1 then
  local me, turn = '', ARGV[3]
  ${LINE}
  first_in_line(count_shared())
end
return 1
`
