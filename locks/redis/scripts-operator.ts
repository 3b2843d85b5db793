/** Scripts for operators. Keys: `scripts-exclusive.ts`. */
import { ENDS_BELOW, LINE, NEXT_TOKEN } from './scripts-wait-queue.ts'

/**
 * KEYS lock fence line shared notes -> {now_ms, value or nil, fence or nil, pttl, {waiter, ...}, {shared, until, #shared,
 * token, ...}, {waiter, kept_until, ...}}
 *
 * A single script, for a consistent view. It changes nothing. MGET, unlike in the other scripts: a name that another program
 * took must not hide the whole list from an operator.
 */
export const INSPECT = `
local time = redis.call('TIME')
local held = redis.call('MGET', KEYS[1], KEYS[2])
return {
  time[1] * 1000 + math.floor(time[2] / 1000), held[1], held[2], redis.call('PTTL', KEYS[1]),
  redis.call('ZRANGE', KEYS[3], 0, -1), redis.call('ZRANGE', KEYS[4], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[5]),
}
`

/**
 * KEYS lock fence line shared notes audit dead...
 * ARGV floor mark forget_after_ms turn kept_entries kept_ms tokens value... (in the order of dead)
 *   tokens: 'all', or those that holders may have, each between two spaces
 * -> entry of the audit trail (JSON) | {value, ...} holders with other tokens: nothing was changed
 *    | 0 a holder is not among the values: inspect again
 *
 * Invariants: afterwards the lock has no holder; the token in the fence is above every granted one; requests of ended holders are
 * refused, and learn who ended them; the entry was written; the first live waiter is woken.
 */
export const FORCE_RELEASE = `
local lock, fence, line, shared, notes, audit = unpack(KEYS, 1, 6)
local floor, mark, forget, turn, me = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ''
${LINE}
local dead = {}
for n = 8, #ARGV do dead[ARGV[n]] = KEYS[n - 1] end
count_shared()
local held = {redis.call('GET', lock), redis.call('GET', fence)}
local values = redis.call('ZRANGEBYSCORE', shared, '-inf', ${ENDS_BELOW})
if held[1] then values = {held[1]} end
local granted, others = {}, {}
for _, value in ipairs(values) do
  local of_shared = redis.call('ZSCORE', shared, '#' .. value)
  -- A score may be written with an exponent.
  local stamp = held[1] and held[2] or of_shared and string.format('%.0f', of_shared)
  granted[value] = string.match(stamp or '0', '^%d+') or '0'
  local named = ARGV[7] == 'all' or string.find(ARGV[7], ' ' .. granted[value] .. ' ', 1, true)
  if not named then others[#others + 1] = value end
end
if #others > 0 then return others end
for _, value in ipairs(values) do
  if not dead[value] then return 0 end
end
local last_token = tonumber(held[2]) or tonumber(string.match(held[2] or '0', '^%d+'))
${NEXT_TOKEN}
redis.call('SET', fence, stamp)
local ended = {}
for _, value in ipairs(values) do
  ended[#ended + 1] = value .. ' ' .. granted[value]
  local expires = held[1] and redis.call('PTTL', lock) or redis.call('ZSCORE', shared, value) - now
  redis.call('SET', dead[value], mark, 'PX', string.format('%.0f', math.max(forget, expires)))
end
redis.call('DEL', lock, shared)
local entry = cjson.encode({mark = mark, at = string.format('%.0f', now), token = string.format('%.0f', token), ended = table.concat(ended, '\\n')})
redis.call('RPUSH', audit, entry)
redis.call('LTRIM', audit, '-' .. ARGV[5], -1)
redis.call('PEXPIRE', audit, ARGV[6])
for _, value in ipairs(values) do
  redis.call('PUBLISH', turn .. string.match(value, '^[^.]+'), value .. ' ' .. lock)
end
if redis.call('EXISTS', line) == 1 then first_in_line(0) end
return entry
`

/** KEYS audit   -> entries, oldest first */
export const AUDIT = `return redis.call('LRANGE', KEYS[1], 0, -1)`
