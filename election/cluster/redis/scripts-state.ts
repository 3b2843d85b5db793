import { COMMON, onMaster } from './scripts-log.ts'

/** KEYS data meta   ARGV key...   -> {revision, {key, record or '', ...}}; of all keys when none is given */
export const READ = `${onMaster('KEYS[2]')}
local revision = redis.call('HGET', KEYS[2], 'revision') or '0'
if #ARGV == 0 then return {revision, redis.call('HGETALL', KEYS[1])} end
local found = {}
for _, key in ipairs(ARGV) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('HGET', KEYS[1], key) or ''
end
return {revision, found}
`

/** How much of the log is searched for a request whose answer was lost. */
const LOOK_PAGES = 16
const LOOK_PAGE = 64

/**
 * KEYS data log meta tombs request members
 * ARGV base state request_id attempt since keep keep_deleted_us, then per operation: kind key if_version json tag
 * -> {'committed', revision, changed 1|0} | {'conflict', key, record or ''} | {'evicted', tag} | {'unknown'}
 *
 * Invariants: all operations or none, under one revision, with their log entry; a request is executed once, however
 * often and in whatever order its attempts come; once a later attempt was executed an earlier one changes nothing.
 */
export const COMMIT = `${COMMON}
local data, log, meta, tombs, request, members = unpack(KEYS)
local base, state, id, attempt, since = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local known = redis.call('GET', request)
if known then
  local tried, revision = string.match(known, '^(%d+) (%d+)$')
  if revision ~= '0' then return {'committed', revision, 1} end
  if tonumber(tried) >= attempt then return {'unknown'} end
end
local function remember(revision)
  if attempt > 1 then redis.call('SET', request, ARGV[4] .. ' ' .. revision, 'PX', 60000) end
end
local function look()
  local last, floor, known = '+', floor_of(log, meta), since .. '-0'
  -- A revision that this log never had is of a history that the server has lost: it says nothing about this one.
  if tonumber(since) > floor and #redis.call('XRANGE', log, known, known) == 0 then since, known = '0', '0-0' end
  for _ = 1, ${LOOK_PAGES} do
    local page = redis.call('XREVRANGE', log, last, '(' .. known, 'COUNT', ${LOOK_PAGE})
    for _, entry in ipairs(page) do
      if entry[2][4] == id then return string.match(entry[1], '^%d+') end
      last = '(' .. entry[1]
    end
    if #page < ${LOOK_PAGE} then return floor > tonumber(since) and 'unknown' or nil end
  end
  return 'unknown'
end
if attempt > 1 then
  local found = look()
  if found == 'unknown' then return {'unknown'} end
  if found then
    remember(found)
    return {'committed', found, 1}
  end
end

for _, key in ipairs(redis.call('ZRANGEBYSCORE', tombs, '-inf', '(' .. text(now_us - ARGV[7]), 'LIMIT', 0, 16)) do
  redis.call('HDEL', data, key)
  redis.call('ZREM', tombs, key)
end
local changes, records = {'request', id}, {}
for n = 8, #ARGV, 5 do
  local kind, key, if_version, json, tag = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3], ARGV[n + 4]
  local record = redis.call('HGET', data, key)
  local version, bound = string.match(record or '0 !', '^(%d+) (%S+)')
  local fits = if_version == '' or if_version == version
  if if_version == '0' then fits = bound == '!' end
  if not fits then
    remember('0')
    return {'conflict', key, record or ''}
  end
  if tag ~= '-' then
    local instance, generation = string.match(tag, '^(.*)%.(%d+)$')
    local member = redis.call('HGET', members, instance)
    if not member or string.match(member, '^%d+') ~= generation then
      remember('0')
      return {'evicted', tag}
    end
  end
  if kind == 'put' or (kind == 'delete' and bound ~= '!') then
    changes[#changes + 1] = kind .. ' ' .. key
    changes[#changes + 1] = kind == 'put' and tag .. ' ' .. json or ''
    records[#records + 1] = {kind, key, tag, json, bound}
  end
end
if #records == 0 then
  remember('0')
  return {'committed', redis.call('HGET', meta, 'revision') or '0', 0}
end
local revision = append(log, meta, ARGV[6], unpack(changes))
redis.call('HSET', meta, 'keep', ARGV[6])
for _, record in ipairs(records) do
  local kind, key, tag, json, bound = unpack(record)
  local item = state .. ' ' .. key
  if bound ~= tag and bound ~= '-' and bound ~= '!' then redis.call('SREM', base .. 'bound:' .. bound, item) end
  if kind == 'put' then
    redis.call('HSET', data, key, revision .. ' ' .. tag .. ' ' .. json)
    redis.call('ZREM', tombs, key)
    if tag ~= '-' then redis.call('SADD', base .. 'bound:' .. tag, item) end
  else
    redis.call('HSET', data, key, revision .. ' !')
    redis.call('ZADD', tombs, revision, key)
  end
end
remember(revision)
return {'committed', revision, 1}
`
