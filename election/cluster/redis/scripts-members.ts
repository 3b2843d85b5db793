import { COMMON, onMaster } from './scripts-log.ts'

/** Number of transitions that the log keeps. */
const KEEP = 1_000
/** Maximum number of bound entries in one entry of the log; Lua passes at most some thousand arguments. */
const TOGETHER = 500

/**
 * KEYS data log meta due, ARGV base first in all of these.
 *
 * save: gives a member its full time. finish: ends a generation, and deletes what was bound to it, in the logs of the
 * states. sweep: declares suspect, then dead, who was not heard of in time. But a member that turns suspect sooner than
 * the time since the last sweep could not have been heard, and gets its full time anew; so do all when the server is
 * another run of itself, or its clock went back. `guard`: after so long all members are looked at, not only those due.
 */
const MEMBERS = `${COMMON}
local data, log, meta, due, base = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
local function read(id)
  local record = redis.call('HGET', data, id)
  if not record then return nil end
  local generation, status, joined, sequence, suspect, dead, join, json =
    string.match(record, '^(%d+) (%a+) (%d+) (%d+) (%d+) (%d+) (%S+) (.*)$')
  return {id = id, generation = generation, status = status, joined = joined, sequence = sequence,
    suspect = suspect, dead = dead, join = join, json = json}
end
local function record_of(m)
  return table.concat({m.generation, m.status, m.joined, m.sequence, m.suspect, m.dead, m.join, m.json}, ' ')
end
local function tell(m, transition)
  append(log, meta, ${KEEP}, 'request', '-', transition .. ' ' .. m.id, record_of(m))
end
local function give_time(m)
  local for_ms = m.status == 'alive' and m.suspect or m.dead - m.suspect
  redis.call('ZADD', due, text(now + for_ms), m.id)
end
local function save(m, transition)
  redis.call('HSET', data, m.id, record_of(m))
  give_time(m)
  if transition then tell(m, transition) end
end
local function delete_all(state, keys)
  local fields = {'request', '-'}
  for _, key in ipairs(keys) do
    fields[#fields + 1] = 'delete ' .. key
    fields[#fields + 1] = ''
  end
  local counters = base .. 'meta:state/' .. state
  local keep = redis.call('HGET', counters, 'keep') or ${KEEP}
  local revision = append(base .. 'log:state/' .. state, counters, keep, unpack(fields))
  for _, key in ipairs(keys) do
    redis.call('HSET', base .. 'data:state/' .. state, key, revision .. ' !')
    redis.call('ZADD', base .. 'tombs:state/' .. state, revision, key)
  end
end
local function unbind(tag)
  local items = redis.call('SMEMBERS', base .. 'bound:' .. tag)
  table.sort(items)
  local state, keys = nil, {}
  for _, item in ipairs(items) do
    local of, key = string.match(item, '^(%S+) (.*)$')
    local record = redis.call('HGET', base .. 'data:state/' .. of, key)
    if record and string.match(record, '^%d+ (%S+)') == tag then
      if #keys > 0 and (of ~= state or #keys == ${TOGETHER}) then
        delete_all(state, keys)
        keys = {}
      end
      state = of
      keys[#keys + 1] = key
    end
  end
  if #keys > 0 then delete_all(state, keys) end
  redis.call('DEL', base .. 'bound:' .. tag)
end
local function finish(m, transition)
  redis.call('HDEL', data, m.id)
  redis.call('ZREM', due, m.id)
  tell(m, transition)
  unbind(m.id .. '.' .. m.generation)
end
local function sweep(guard)
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or 'unknown'
  local before = redis.call('HMGET', meta, 'swept', 'run')
  local swept = tonumber(before[1]) or now
  local gap, anew = now - swept, before[1] and (now < swept or run ~= before[2])
  redis.call('HSET', meta, 'swept', text(now), 'run', run)
  if anew or gap > tonumber(guard) then
    for _, id in ipairs(redis.call('HKEYS', data)) do
      local m = read(id)
      if anew or gap > tonumber(m.suspect) then give_time(m) end
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', text(now), 'LIMIT', 0, 128)) do
    local m = read(id)
    if not m then redis.call('ZREM', due, id)
    elseif gap > tonumber(m.suspect) then give_time(m)
    elseif m.status == 'suspect' then finish(m, 'dead')
    else
      m.status = 'suspect'
      save(m, 'suspect')
    end
  end
end
`

/** KEYS data meta   -> {revision, {instance, record, ...}} */
export const READ_MEMBERS = `${onMaster('KEYS[2]')}
return {redis.call('HGET', KEYS[2], 'revision') or '0', redis.call('HGETALL', KEYS[1])}
`

/**
 * ... gone   ARGV base id join_id json suspect_ms dead_ms   -> {'joined', generation} | {'given_up'}
 *
 * Invariants: generations rise strictly in the cluster; one join gives one generation, however often it is sent; an
 * instance has one generation at a time, and the one before ends first.
 */
export const JOIN = `${MEMBERS}
local before = read(ARGV[2])
if before and before.join == ARGV[3] then return {'joined', before.generation} end
if redis.call('EXISTS', KEYS[5]) == 1 then return {'given_up'} end
if before then finish(before, 'replaced') end
local generation = text(math.max(tonumber(redis.call('HGET', meta, 'generation') or 0) + 1, now_us))
redis.call('HSET', meta, 'generation', generation)
save({id = ARGV[2], generation = generation, status = 'alive', joined = text(now), sequence = '0',
  suspect = ARGV[5], dead = ARGV[6], join = ARGV[3], json = ARGV[4]}, 'joined')
return {'joined', generation}
`

/**
 * ARGV base id generation guard_ms   -> {'confirmed'} | {'evicted', current generation or '0'} | {'forgotten'}
 *
 * Invariants: only the current generation is confirmed; the one that beats is not swept by its own beat.
 */
export const BEAT = `${MEMBERS}
local m = read(ARGV[2])
if not m and not redis.call('HGET', meta, 'revision') then return {'forgotten'} end
if not m or m.generation ~= ARGV[3] then return {'evicted', m and m.generation or '0'} end
local recovered = m.status == 'suspect' and 'recovered' or nil
m.status = 'alive'
save(m, recovered)
sweep(ARGV[4])
return {'confirmed'}
`

/** ARGV base guard_ms   -> 1. Idempotent; anybody may. */
export const SWEEP = `${MEMBERS}
if redis.call('HGET', meta, 'revision') then sweep(ARGV[2]) end
return 1
`

/** ARGV base id generation sequence json   -> 1 described, also if a later one came before | 0 evicted */
export const DESCRIBE = `${MEMBERS}
local m = read(ARGV[2])
if not m or m.generation ~= ARGV[3] then return 0 end
if tonumber(ARGV[4]) > tonumber(m.sequence) then
  m.sequence, m.json = ARGV[4], ARGV[5]
  redis.call('HSET', data, m.id, record_of(m))
  tell(m, 'updated')
end
return 1
`

/** ... gone   ARGV base id join_id forget(1|0)   -> 1. Ends only what began with this join. */
export const LEAVE = `${MEMBERS}
if ARGV[4] == '1' then redis.call('SET', KEYS[5], 1, 'PX', 60000) end
local m = read(ARGV[2])
if m and m.join == ARGV[3] then finish(m, 'left') end
return 1
`

/** ARGV base, then per member: id record   -> 1 written | 0 the cluster is known. The first one to tell is believed. */
export const RESTORE = `${MEMBERS}
if redis.call('HGET', meta, 'revision') or #ARGV < 2 then return 0 end
local last = 0
for n = 2, #ARGV, 2 do
  redis.call('HSET', data, ARGV[n], ARGV[n + 1])
  local m = read(ARGV[n])
  m.status = 'alive'
  save(m, 'joined')
  last = math.max(last, tonumber(m.generation))
end
redis.call('HSET', meta, 'generation', text(last))
return 1
`
