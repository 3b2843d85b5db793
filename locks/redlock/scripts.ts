/**
 * What each server of the quorum does, atomically and by its own clock. A server knows nothing of the others; what the
 * votes add up to is decided in `store.ts`.
 *
 * Keys of lock `k`, all in one slot through the hash tag:
 *   {k}          string  value of the holder, PX = the lease and its lock delay
 *   {k}:fence    hash    token: highest issued or written back here; held, since: token and ms of the last grant here.
 *                        Never expires, or tokens could repeat
 *   {k}:line     zset    waiters (values), scored by ticket: when they began to wait
 *   {k}:places   hash    waiter -> until when its place is kept, ms of server time
 *   {k}:dead:<v> string  value v was given up; a straggling request for it is refused
 */

const LEAVE = `
local function leave(line, places, value)
  redis.call('ZREM', line, value)
  redis.call('HDEL', places, value)
end
`

const KEEP_TOKEN = `
local function keep_token(fence, token)
  local text = string.format('%.0f', token)
  redis.call('HSET', fence, 'held', text)
  if token > tonumber(redis.call('HGET', fence, 'token') or 0) then redis.call('HSET', fence, 'token', text) end
end
`

/**
 * KEYS lock fence line places dead   ARGV value ttl_ms floor keep_place_ms ticket proposal
 * -> {1, token, now in us} a vote for | {0, position or -1, value in the way, held (1) or waited for (0), now in us} | {2} given up
 *
 * Invariants: one vote at a time; a token is greater than every token issued or written back here, also after FLUSHALL or a clock set
 * back (`floor`), and a proposal moves it little ahead of the clock; the vote goes to the waiter with the lowest ticket, or to a newcomer
 * only without waiters; the same value asking again gets the same vote, with its time counted anew; a value that gave up gets nothing.
 */
export const VOTE = `
local call = redis.call
local lock, fence, line, dead, me = KEYS[1], KEYS[2], KEYS[3], KEYS[5], ARGV[1]
local time = call('TIME')
local holder, now = call('GET', lock), time[1] * 1000000 + time[2]
local last = call('HMGET', fence, 'token', 'held')
if holder == me and last[2] then
  call('PEXPIRE', lock, ARGV[2])
  return {1, tonumber(last[2]), now}
end
local now_ms = math.floor(now / 1000)
if holder or call('EXISTS', line, dead) > 0 then
  if call('EXISTS', dead) == 1 then return {2} end
  ${LEAVE}
  local places, first = KEYS[4], nil
  while not first do
    first = call('ZRANGE', line, 0, 0)[1]
    if not first or first == me then break end
    if tonumber(call('HGET', places, first) or 0) <= now_ms then
      leave(line, places, first)
      first = nil
    end
  end
  if (holder and holder ~= me) or (first and first ~= me) then
    local keep = tonumber(ARGV[4])
    if keep > 0 then
      local ticket = tonumber(ARGV[5])
      call('ZADD', line, ticket > 0 and ARGV[5] or string.format('%.0f', now), me)
      call('HSET', places, me, string.format('%.0f', now_ms + keep))
      local expiry = math.max(keep, call('PTTL', line))
      call('PEXPIRE', line, expiry)
      call('PEXPIRE', places, expiry)
    end
    return {0, call('ZRANK', line, me) or -1, holder or first, holder and 1 or 0, now}
  end
  leave(line, places, me)
end
local token = now
if last[1] and last[1] + 0 >= token then token = last[1] + 1 end
if ARGV[3] + 0 >= token then token = ARGV[3] + 1 end
local proposal = tonumber(ARGV[6])
if proposal > token and proposal <= now + 1000000 then token = proposal end
-- Redis writes whole numbers in full.
call('HSET', fence, 'token', token, 'held', token, 'since', now_ms)
call('SET', lock, me, 'PX', ARGV[2])
return {1, token, now}
`

/**
 * VOTE for one who does not want a place in the line, when the lock is idle or plainly held: less to send, and less for
 * Redis to do. Texts, where numbers would do: to write one out takes Redis longer than most commands do.
 *
 * KEYS lock fence line dead   ARGV value ttl_ms floor proposal
 * -> now in us: a vote for, its token is the proposal | as VOTE | nil: not as plain as that, nothing was done, ask VOTE
 */
export const VOTE_IDLE = `
local call, lock, fence, me, proposal = redis.call, KEYS[1], KEYS[2], ARGV[1], ARGV[4]
if call('EXISTS', lock, KEYS[3], KEYS[4]) > 0 then
  local holder = call('GET', lock)
  if holder and holder ~= me and call('EXISTS', KEYS[4]) == 0 then return {0, -1, holder, 1, 0} end
  return nil
end
local time = call('TIME')
local micros = string.sub('000000' .. time[2], -6)
local now_us = time[1] .. micros
local now = now_us + 0
local token, text = now, now_us
local last, floor, wanted = call('HGET', fence, 'token'), ARGV[3] + 0, proposal + 0
if last and last + 0 >= token then
  token = last + 1
  text = nil
end
if floor >= token then
  token = floor + 1
  text = nil
end
local agreed = wanted > token and wanted <= now + 1000000
if agreed then text = proposal end
text = text or string.format('%.0f', token)
call('HSET', fence, 'token', text, 'held', text, 'since', time[1] .. string.sub(micros, 1, 3))
call('SET', lock, me, 'PX', ARGV[2])
if agreed then return now end
return {1, token, now}
`

/**
 * KEYS lock fence line places   ARGV value token   -> 1 written back | 0 not ours
 *
 * Invariant: the token is kept here before anybody else can be voted for here: only while the vote is still ours.
 */
export const WRITE_BACK = `${LEAVE}${KEEP_TOKEN}
leave(KEYS[3], KEYS[4], ARGV[1])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
keep_token(KEYS[2], tonumber(ARGV[2]))
return 1
`

/**
 * KEYS lock   ARGV value ttl_ms   -> 1 extended | 0 another value's | -1 free
 *
 * Invariant: prolongs only the holder's time; an expired vote is not revived.
 */
export const EXTEND = `
local holder = redis.call('GET', KEYS[1])
if not holder then return -1 end
if holder ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`

/**
 * KEYS lock fence dead   ARGV value ttl_ms token   -> 1 voted | 0 not free, or given up
 *
 * For a server that missed the grant or forgot it, while a majority has just confirmed that the lock is `value`'s.
 */
export const HEAL = `${KEEP_TOKEN}
if redis.call('EXISTS', KEYS[1], KEYS[3]) > 0 then return 0 end
keep_token(KEYS[2], tonumber(ARGV[3]))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`

/**
 * KEYS lock line places dead   ARGV value forget_after_ms leave (1|0)   -> 1 released | 0 not ours
 *
 * Invariants: only the holder frees; with `forget_after_ms` straggling requests for the value are refused that long.
 */
export const RELEASE = `
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
if ARGV[2] ~= '0' then
  -- With a full memory Redis refuses SET, but not after another write of the script, such as this one.
  redis.call('PEXPIRE', KEYS[4], ARGV[2])
  redis.call('SET', KEYS[4], 1, 'PX', ARGV[2])
end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
`

/**
 * RELEASE of a value that has no place in the line, and of which no other request can be under way.
 *
 * KEYS lock   ARGV value   -> 1 released | 0 not ours
 */
export const RELEASE_CERTAIN = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`

/** KEYS lock fence line places   -> {value or '', token, since_ms, frees_in_ms, waiter, ticket, waiter, ticket, ...} */
export const INSPECT = `
local reply = {
  redis.call('GET', KEYS[1]) or '',
  redis.call('HGET', KEYS[2], 'held') or '0',
  redis.call('HGET', KEYS[2], 'since') or '0',
  redis.call('PTTL', KEYS[1]),
}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local waiters = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for i = 1, #waiters, 2 do
  if tonumber(redis.call('HGET', KEYS[4], waiters[i]) or 0) > now then
    reply[#reply + 1] = waiters[i]
    reply[#reply + 1] = waiters[i + 1]
  end
end
return reply
`
