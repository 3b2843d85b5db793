import { MAX_PAGE_BYTES } from '../store/log-page.ts'

/**
 * Parts shared by all scripts. Every change of a cluster is one script, so it is atomic and Redis's own clock decides.
 *
 * Keys of cluster `c`, all in one slot through the hash tag. `<space>` is `members` or `state/<name>`:
 *   {c}:data:<space>    hash    a state: key -> "<version> <bound> <json>", deleted "<version> !"; bound is a tag or "-"
 *                               members: instance -> "<generation> <status> <joined> <sequence> <suspect> <dead> <join id> <json>"
 *   {c}:log:<space>     stream  one entry per change, id <revision>-0, trimmed to a fixed number of entries
 *                               fields: previous <revision>, request <id>, then "<kind> <key>" <text> per change
 *   {c}:meta:<space>    hash    revision (the last); members: generation (the last), swept (ms), run (of the server)
 *   {c}:tombs:<space>   zset    deleted keys, scored by the revision of the deletion
 *   {c}:due:members     zset    instances, scored by when they turn suspect, or dead; ms of server time
 *   {c}:bound:<tag>     set     "<state> <key>" of entries deleted with a generation; tag = <instance>.<generation>
 *   {c}:request:<id>    string  "<attempt> <revision or 0>" of a write whose answer was lost; a minute
 *   {c}:gone:<join id>  string  this join was given up; a minute
 */

/**
 * Lua that refuses on a server that became a replica, which would return outdated data. It tries to delete a field that does not
 * exist: that changes nothing, and needs no memory. A write refused for another reason does not prevent a read.
 */
export const onMaster = (meta: string): string => `
local write = redis.pcall('HDEL', ${meta}, '')
if type(write) == 'table' and string.find(write.err or '', 'READONLY', 1, true) then
  return redis.error_reply('READONLY the server is a replica')
end
`

/**
 * append: revision = max(last + 1, server time in microseconds). Rising also when the clock goes back; above everything
 * confirmed before when data were lost. As a double it is exact until the year 2255; as text only through `%.0f`.
 */
export const COMMON = `
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)
local function text(number) return string.format('%.0f', number) end
local function append(log, meta, keep, ...)
  local last = tonumber(redis.call('HGET', meta, 'revision') or 0)
  local revision = math.max(last + 1, now_us)
  redis.call('XADD', log, 'MAXLEN', '=', keep, text(revision) .. '-0', 'previous', text(last), ...)
  redis.call('HSET', meta, 'revision', text(revision))
  return text(revision)
end
local function floor_of(log, meta)
  local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  return tonumber(first and first[2][2] or redis.call('HGET', meta, 'revision') or 0)
end
`

/**
 * KEYS log meta   ARGV after limit   -> {'ok', entries} | {'compacted'} | {'rolled_back'}
 *
 * Invariant: `ok` only if `after` is a revision of this very history and everything after it is in the log. Reads one entry at a time, so
 * that no more than a page and an entry are in the script's memory.
 */
export const CHANGES = `${onMaster('KEYS[2]')}${COMMON}
local log, meta, after = KEYS[1], KEYS[2], tonumber(ARGV[1])
if after > tonumber(redis.call('HGET', meta, 'revision') or 0) then return {'rolled_back'} end
local floor = floor_of(log, meta)
if after < floor then return {'compacted'} end
local id = ARGV[1] .. '-0'
if after > floor and #redis.call('XRANGE', log, id, id) == 0 then return {'rolled_back'} end
local entries, bytes = {}, 0
while #entries < tonumber(ARGV[2]) do
  local entry = redis.call('XRANGE', log, '(' .. id, '+', 'COUNT', 1)[1]
  if not entry then break end
  for _, field in ipairs(entry[2]) do bytes = bytes + #field end
  if #entries > 0 and bytes > ${MAX_PAGE_BYTES} then break end
  entries[#entries + 1] = entry
  id = entry[1]
end
return {'ok', entries}
`

/**
 * KEYS wake meta...   ARGV wake_for_ms   -> the last revision of each log
 *
 * It writes, so that a server that became a replica refuses it instead of telling what it was.
 */
export const ENDS = `
redis.call('HSET', KEYS[1] .. ':alive', 'tail', 1)
redis.call('PEXPIRE', KEYS[1] .. ':alive', ARGV[1])
local ends = {}
for n = 2, #KEYS do ends[n - 1] = redis.call('HGET', KEYS[n], 'revision') or '0' end
return ends
`

/** KEYS wake   ARGV wake_for_ms   -> 1. Ends the blocking read of this process, also one that is still to come. */
export const WAKE = `
redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', 'wake', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
`
