/**
 * The fence in Redis: key `<prefix>{resource}` holds the highest token seen, as a decimal string. Tokens are compared as strings
 * (longer is greater, then by digits), so that none is ever rounded.
 */
const COMPARE = `
local function greater(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end
local last = redis.call('GET', KEYS[1])
if last and not string.find(last, '^%d+$') then return redis.error_reply('ERR the key of the fence holds no token') end
`

/**
 * KEYS fence, keys of the commands...   ARGV token, then for each command: number of words, words... -> {0, last} refused | {1,
 * replies} | {2, commands done, message} one failed
 *
 * Invariants: nothing is executed under a token lower than one seen before; the token is stored before the first command, so
 * that, whatever happens then, no older holder can add to it.
 */
export const WRITE = `${COMPARE}
local token = ARGV[1]
if last and greater(last, token) then return {0, last} end
redis.call('SET', KEYS[1], token)
local replies, done, at = {}, 0, 2
while ARGV[at] do
  local words = tonumber(ARGV[at])
  local reply = redis.pcall(unpack(ARGV, at + 1, at + words))
  if type(reply) == 'table' and reply.err then return {2, done, reply.err} end
  done = done + 1
  replies[done] = reply
  at = at + words + 1
end
return {1, replies}
`

/** KEYS fence   ARGV token   -> the highest token seen, including this one */
export const RAISE = `${COMPARE}
if last and greater(last, ARGV[1]) then return last end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
`

/** KEYS fence   -> the highest token seen, or nil */
export const LAST = `${COMPARE}
return last
`
