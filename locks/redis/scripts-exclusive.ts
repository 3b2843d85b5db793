/**
 * Every state change of a lock is one of these scripts, so it is atomic and Redis's own clock decides.
 *
 * Keys of lock `k`, all in one slot through the hash tag:
 *   {k}          string  value of the exclusive holder, PX = the lease and its lock delay
 *   {k}:shared   zset    values of the shared holders, scored by the end of lease and lock delay, ms of server time; also
 *                        `#<value>`, scored by its token, and `@<value>`, the time of the grant (µs) if the token lacks it
 *   {k}:fence    string  last token granted, and the time of its grant (µs) if the token lacks it; never expires, or tokens
 *                        could repeat
 *   {k}:line     zset    waiters (values), scored by order of arrival
 *   {k}:notes    hash    waiter -> time until which its place is kept, ms of server time; if the lock may be handed to it, also
 *                        the lease (ms) and the token that its own must exceed
 *   {k}:dead:<v> string  value v was given up, or ended by force (then JSON with person and reason); a late request for it is
 *                        refused
 *   {k}:audit    list    forced releases, JSON, newest last
 *
 * Each is read by a command for its type, and never by MGET, which treats another type as missing: a key of another program
 * under one of these names is refused, and not overwritten.
 *
 * Values: see `valueOf`. A waiter is woken by name: `PUBLISH <channel of its client> "<value> <lock key>"`, or informed that it
 * has the lock: `"<value>=<token> <lock key>"`. The number of receivers shows at once whether its process is connected.
 *
 * This file has the exclusive lock, with a short path through an idle lock, and giving up. The rest is in `scripts-*.ts`.
 */
import { HAND_OVER, LINE, NEXT_TOKEN, TAKE_TOKEN, TOMBSTONE } from './scripts-wait-queue.ts'

/**
 * KEYS lock fence line shared notes dead   ARGV value hold_ms floor keep_place_ms turn hand_over(1|0)
 * -> token: granted | {retry_after_ms, position or -1, value in the way, last token} | 'given up' | JSON: ended by force
 *
 * Invariants: there is no other holder; a token is greater than every token before it, also after FLUSHALL or a clock set back (`floor`);
 * the lock goes to the first live waiter, or to a newcomer only without one; the same value asking again gets the same grant, with its
 * time counted anew; a value that gave up gets nothing.
 */
export const ACQUIRE = `
local lock, fence, line, shared, dead, me = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6], ARGV[1]
local held = {redis.call('GET', lock), redis.call('GET', fence)}
local last_token, floor = tonumber(held[2]) or tonumber(string.match(held[2] or '0', '^%d+')), ARGV[3]
if held[1] or redis.call('EXISTS', line, shared, dead) > 0 then
  if held[1] == me and held[2] then
    redis.call('PEXPIRE', lock, ARGV[2])
    return last_token
  end
  local given_up = redis.call('GET', dead)
  if given_up then return given_up end
  local notes, turn = KEYS[5], ARGV[5]
  ${LINE}
  local wish = ARGV[6] == '1' and string.format(' %s %s', ARGV[2], floor) or ''
  local answer = barred(held[1], 1, tonumber(ARGV[4]), wish)
  if answer then
    answer[4] = last_token
    return answer
  end
end
${NEXT_TOKEN}
redis.call('SET', fence, stamp)
redis.call('SET', lock, me, 'PX', ARGV[2])
return token
`

/**
 * ACQUIRE for a caller that wants no place in the line, when the lock is idle or simply held: a shorter request, and less work
 * for Redis.
 *
 * KEYS lock fence line shared dead   ARGV value hold_ms floor -> token: granted | {retry_after_ms, -1, value in the way} | nil:
 * another case, nothing was done, ask ACQUIRE
 */
export const ACQUIRE_IDLE = `
local call, lock, fence, me, floor = redis.call, KEYS[1], KEYS[2], ARGV[1], ARGV[3]
if call('EXISTS', lock, KEYS[3], KEYS[4], KEYS[5]) > 0 then
  local held = call('GET', lock)
  if held and held ~= me then return {call('PTTL', lock), -1, held} end
  return nil
end
${TAKE_TOKEN}
call('SET', lock, me, 'PX', ARGV[2])
return token
`

/**
 * KEYS lock dead   ARGV value hold_ms   -> 1 extended | 0 or the tombstone's text: not ours
 *
 * Invariant: only the holder's time is ever prolonged; a lock that expired is not revived.
 */
export const EXTEND = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.call('GET', KEYS[2]) or 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`

/**
 * KEYS lock line notes dead   ARGV value forget_after_ms turn   -> 1 released | 0 or the tombstone's text: not ours
 *
 * Invariants: only the holder frees the lock; freeing it hands it to the first live waiter, under the rules of ACQUIRE, or
 * wakes exactly that one (which, being shared, wakes the next).
 */
export const RELEASE = `
local ours = redis.call('GET', KEYS[1]) == ARGV[1]
local given_up = not ours and redis.call('GET', KEYS[4])
if ours then redis.call('DEL', KEYS[1]) end
if ARGV[2] ~= '0' and not given_up then ${TOMBSTONE('KEYS[4]', 'ARGV[2]')} end
if not ours then return given_up or 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then
  local lock, line, notes, turn, me, shared = KEYS[1], KEYS[2], KEYS[3], ARGV[3], '', ''
  ${LINE}
  ${HAND_OVER}
  first_in_line(0, next_token)
end
return 1
`

/**
 * RELEASE of a value without any other request under way.
 *
 * KEYS lock line notes   ARGV value turn   -> 1 released | nil: not ours, nothing was done, ask RELEASE
 */
export const RELEASE_CERTAIN = `
local call, lock = redis.call, KEYS[1]
if call('GET', lock) ~= ARGV[1] then return nil end
call('DEL', lock)
if call('EXISTS', KEYS[2]) == 1 then
  local line, notes, turn, me, shared = KEYS[2], KEYS[3], ARGV[2], '', ''
  ${LINE}
  ${HAND_OVER}
  first_in_line(0, next_token)
end
return 1
`

/**
 * KEYS lock line shared notes dead   ARGV value forget_after_ms turn free(1|0)   -> 1
 *
 * Invariants: afterwards the value has no place in the line and (with free) does not hold the lock, and late requests for it
 * are refused; if there is room now the first live waiter has been woken, so that no wake-up is lost with the waiter that
 * received it.
 */
export const ABANDON = `
local lock, line, shared, notes, turn, me = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[3], ''
${LINE}
if ARGV[4] == '1' then
  if redis.call('GET', lock) == ARGV[1] then redis.call('DEL', lock) end
  leave_shared(ARGV[1])
end
leave(ARGV[1])
if ARGV[2] ~= '0' and redis.call('EXISTS', KEYS[5]) == 0 then ${TOMBSTONE('KEYS[5]', 'ARGV[2]')} end
if redis.call('EXISTS', lock) == 0 and redis.call('EXISTS', line) == 1 then first_in_line(count_shared()) end
return 1
`
