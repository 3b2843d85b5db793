/**
 * The value is given up. Redis with a full memory refuses SET, except after another write of the script. Giving up must work
 * then too, and PEXPIRE of a missing key is such a write.
 */
export const TOMBSTONE = (key: string, ms: string): string =>
  `redis.call('PEXPIRE', ${key}, ${ms}) redis.call('SET', ${key}, 'given up', 'PX', ${ms})`

/** In `{k}:shared` smaller scores are ends of leases, in ms of server time; larger ones are tokens, which are microseconds. */
export const ENDS_BELOW = '1e14'

/**
 * Selects the next waiter: Lua shared by all scripts that admit or remove a holder. Expects these names around it:
 * `lock line shared notes` (keys), `turn` (begins the channels), `me` (the caller's value, or '').
 */
export const LINE = `
local now_time = redis.call('TIME')
local now = now_time[1] * 1000 + math.floor(now_time[2] / 1000)

-- How many may hold the lock when this value gets in, itself included.
local function limit_of(value)
  local kind, limit = string.match(value, '^[^.]+%.[^.]+%.(%a)(%d*)')
  return kind == 's' and math.huge or tonumber(limit) or 1
end

local function lasts(key, ms)
  redis.call('PEXPIRE', key, math.max(ms, redis.call('PTTL', key)))
end

local function leave(value)
  redis.call('ZREM', line, value)
  redis.call('HDEL', notes, value)
end

-- Out of those who hold it shared, with its token: 0 if it was not among them.
local function leave_shared(value)
  return redis.call('ZREM', shared, value, '#' .. value, '@' .. value)
end

-- How many hold the lock shared, after those are out whose time is over. The tokens come behind all of the ends.
local function count_shared()
  for _, value in ipairs(redis.call('ZRANGEBYSCORE', shared, '-inf', now)) do leave_shared(value) end
  local token = redis.call('ZRANGEBYSCORE', shared, ${ENDS_BELOW}, '+inf', 'LIMIT', 0, 1)[1]
  return token and redis.call('ZRANK', shared, token) or redis.call('ZCARD', shared)
end

-- In a cluster a message reaches the subscribers of all nodes, but only those of this node are counted: there a waiter
-- is taken to be alive while its place is kept.
local clustered = string.match(turn, 'cluster:$') ~= nil

local function kept_until(value)
  return tonumber(string.match(redis.call('HGET', notes, value) or '0', '^%d+'))
end

-- The first waiter that is alive: its place is kept and its process is subscribed. If there is room for it beside those
-- who hold, and unless it is me, it is woken; or it has the lock from now on, if the caller has one to give
-- (next_token: see HAND_OVER) and it said for how long. Dead ones are removed on the way, so the cost is constant but for
-- each death.
local function first_in_line(holding, next_token)
  while true do
    local first = redis.call('ZRANGE', line, 0, 0)[1]
    if not first or first == me then return first end
    local channel = turn .. string.match(first, '^[^.]+')
    local kept, hold, floor = string.match(redis.call('HGET', notes, first) or '0', '^(%d+) ?(%d*) ?(%d*)')
    local alive = tonumber(kept) > now
    if alive and holding < limit_of(first) then
      local told, token, stamp = first, nil, nil
      if next_token and hold ~= '' and not clustered then
        token, stamp = next_token(floor)
        told = string.format('%s=%.0f', first, token)
      end
      alive = redis.call('PUBLISH', channel, told .. ' ' .. lock) > 0 or clustered
      if alive and token then
        redis.call('SET', lock .. ':fence', stamp)
        redis.call('SET', lock, first, 'PX', hold)
        leave(first)
      end
    elseif alive then
      alive = clustered or redis.call('PUBSUB', 'NUMSUB', channel)[2] > 0
    end
    if alive then return first end
    leave(first)
  end
end

-- wish: for how long I want the lock if I am handed it, and the floor of its token; or ''
local function keep_place(keep, wish)
  if not redis.call('ZSCORE', line, me) then
    local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')
    redis.call('ZADD', line, (tonumber(last[2]) or 0) + 1, me)
  end
  redis.call('HSET', notes, me, string.format('%.0f', now + keep) .. wish)
  lasts(line, keep)
  lasts(notes, keep)
end

-- The one rule of admission. Nil: I may hold the lock now, and am out of the line. Else the answer that I am barred.
-- exclusive: value of the exclusive holder or false; limit: mine; keep: for how long I want a place in the line, or 0
local function barred(exclusive, limit, keep, wish)
  local holding = exclusive and math.huge or count_shared()
  local first
  if holding < limit then
    first = first_in_line(holding)
    if not first or first == me then
      leave(me)
      return nil
    end
  end
  if keep > 0 then keep_place(keep, wish) end
  local retry_after, in_the_way
  if first then
    retry_after, in_the_way = kept_until(first) - now, first
  elseif exclusive then
    retry_after, in_the_way = redis.call('PTTL', lock), exclusive
  else
    -- When so many have ended that there is room.
    local last = redis.call('ZRANGE', shared, holding - limit, holding - limit, 'WITHSCORES')
    retry_after, in_the_way = tonumber(last[2]) - now, last[1]
  end
  return {retry_after, redis.call('ZRANK', line, me) or -1, in_the_way}
end
`

/** The token granted next: above `last_token`, `time`, and `floor`, which the caller has seen. Sets `token` and `stamp`. */
export const TOKEN_OF_TIME = `
local now_us = time[1] .. string.sub('000000' .. time[2], -6)
local token, stamp = now_us + 0, now_us
if last_token >= token then token = last_token + 1 end
if floor + 0 >= token then token = floor + 1 end
-- The token says since when, but for a clock that was set back or a floor ahead of it.
if token ~= now_us + 0 then stamp = string.format('%.0f %s', token, now_us) end
`

/**
 * Puts the next token into the fence, in a single command if the fence need not be read before. Expects `fence` and `floor`;
 * sets `time`, `micros`, `now_us`, `token` and `stamp`. Answers nil, and leaves the fence unchanged, if it contains no token.
 * Uses texts instead of numbers: formatting a number takes Redis longer than most commands do.
 */
export const TAKE_TOKEN = `
local time = redis.call('TIME')
local micros = string.sub('000000' .. time[2], -6)
local now_us = time[1] .. micros
local token, stamp = now_us + 0, now_us
if floor + 0 >= token then
  token = floor + 1
  stamp = string.format('%.0f %s', token, now_us)
end
local last = redis.call('SET', fence, stamp, 'GET')
if last then
  local last_token = tonumber(last) or tonumber(string.match(last, '^%d+'))
  if not last_token then
    redis.call('SET', fence, last)
    return nil
  end
  if last_token >= token then
    token = last_token + 1
    stamp = string.format('%.0f %s', token, now_us)
    redis.call('SET', fence, stamp)
  end
end
`

/** `TOKEN_OF_TIME` of now. */
export const NEXT_TOKEN = `
local time = redis.call('TIME')
${TOKEN_OF_TIME}
`

/** Values that `first_in_line` needs to hand the lock over. The fence's name follows from the lock's, as in `lockKeys`. */
export const HAND_OVER = `
local function next_token(floor)
  local known = redis.call('GET', lock .. ':fence') or '0'
  local last_token = tonumber(known) or tonumber(string.match(known, '^%d+'))
  ${NEXT_TOKEN}
  return token, stamp
end
`
