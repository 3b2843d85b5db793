/** Contents of Redis and of a cluster's tables, where others can write. */
import { silentLogger, systemClock } from 'concordat/core'
import { hostileJson, hostileJsonText, hostileText } from '../hostile.ts'
import {
  changesReply,
  commitReply,
  heldKey,
  lockDelayOf,
  lockInfo,
  memberRecord,
  membersReading,
  memberText,
  notHeld,
  ownerOf,
  RedisOperator,
  rowEntry,
  StateValues,
  StoreClusterAdmin,
  stateReading,
  stateRecord,
  tagOf,
  termsOf,
  valueOf,
} from '../inside.ts'
import type { Tape } from '../tape.ts'
import { check, target } from '../target.ts'

const TERMS = { owner: 'shop/1', mode: 'shared', limit: 3, lockDelayMs: 5_000 } as const
const VALUE = valueOf('c1', 'r1', TERMS)
const MARK = JSON.stringify({ by: 'ann', reason: 'stuck' })
const ENTRY = { mark: MARK, at: '1795334400000', token: '7', ended: `${VALUE} 7` }

/** A list of texts, as Lua gives one. */
function texts(tape: Tape, ...samples: readonly string[]): string[] {
  return samples.flatMap((sample) => (tape.once(16) ? [] : [hostileText(tape, sample)]))
}

export const redisLocks = target({
  name: 'redis-locks',
  about: 'values of locks in Redis: who holds, who waits, who was ended by force',
  input: (tape) => ({
    value: hostileText(tape, VALUE, 'c.r.x.me', 'c.r.s+10.me'),
    held: tape.once(3) ? null : hostileText(tape, VALUE),
    stamp: hostileText(tape, '7 1795334400000000', '7'),
    line: texts(tape, VALUE, VALUE),
    shared: texts(tape, VALUE, '1795334400000'),
    notes: texts(tape, VALUE, '1795334400000 3'),
    tomb: hostileJsonText(tape, JSON.parse(MARK)),
    entry: hostileJsonText(tape, ENTRY),
    key: hostileText(tape, 'l:{a}', 'l:{a}:shared'),
  }),
  isAsync: true,
  async run({ value, held, stamp, line, shared, notes, tomb, entry, key }) {
    const { owner } = termsOf(value)
    check(typeof owner === 'string', 'the owner is no text')
    heldKey(key, 'l:')
    const reply = [1_795_334_399_000, held, stamp, 5_000, line, shared, notes]
    const commands = {
      run: async (_: unknown, keys: readonly string[]) => (keys.length === 1 ? [entry] : reply),
      async *scan() {
        yield ['l:{a}', key]
      },
    }
    const operator = new RedisOperator({ commands: commands as never, prefix: 'l:', turn: 't' })
    await operator.list({ limit: 10, prefix: '', signal: undefined })
    const forced = notHeld(tomb)
    check(forced === 'lost' || typeof forced.forced.by === 'string', 'nobody ended it, and it says so')
    for (const each of await operator.audit('a')) check(typeof each.by === 'string', 'nobody did it, and it is listed')
  },
})

export const redlockValues = target({
  name: 'redlock-values',
  about: 'what a majority of Redis servers say of a lock',
  input: (tape) =>
    [0, 1, 2].map(() => [
      hostileText(tape, 'r1.5000.shop%2F1', ''),
      hostileText(tape, '7'),
      hostileText(tape, '1795334400000'),
      tape.below(10_000),
      ...texts(tape, 'r2.0.me', '3'),
    ]),
  run(answers) {
    const [[value = ''] = []] = answers as string[][]
    ownerOf(value)
    lockDelayOf(value)
    const info = lockInfo('a', answers, 3)
    check(info === undefined || info.holders.every(({ owner }) => typeof owner === 'string'), 'the owner is no text')
  },
})

const MEMBER = {
  instance: 'shop/1',
  generation: 3,
  status: 'alive',
  joinedAt: 1,
  sequence: 2,
  suspectAfterMs: 3,
  deadAfterMs: 4,
  joinId: 'j',
  json: '{"service":"shop","meta":{}}',
} as const
const TAG = tagOf(MEMBER)

export const redisCluster = target({
  name: 'redis-cluster',
  about: 'members, shared state and their logs in Redis',
  input: (tape) => ({
    revision: hostileText(tape, '7'),
    state: texts(tape, 'rates', `3 ${TAG} {"a":1}`, 'fees', '2 - [1]', 'gone', '4 !'),
    members: texts(tape, 'shop%2F1', memberText(MEMBER)),
    changes: texts(tape, 'put rates', `${TAG} {"a":1}`, 'delete fees', '', 'joined shop%2F1', memberText(MEMBER)),
    status: tape.pick(['conflict', 'evicted', 'committed', 'unknown']),
    first: hostileText(tape, TAG),
    second: hostileText(tape, `3 ${TAG} {"a":1}`),
  }),
  run({ revision, state, members, changes, status, first, second }) {
    const read = stateReading([revision, state])
    check(Number.isSafeInteger(read.revision), 'the revision is no number')
    for (const { version, boundTo } of read.records)
      check(Number.isSafeInteger(version) && Number.isSafeInteger(boundTo?.generation ?? 0), 'a version is no number')
    membersReading([revision, members])
    commitReply([status, first, second])
    changesReply(['ok', [['7-0', ['previous', revision, 'x', 'y', ...changes]]]])
  },
})

const options = {
  store: undefined as never,
  name: 'rates',
  cluster: 'c',
  hasMembers: false,
  schema: undefined,
  maxValueBytes: 1,
  keepChanges: 1,
  keepDeletedMs: 1,
  retryForMs: 1,
  maxPending: 1,
  logger: silentLogger,
  telemetry: undefined,
  clock: systemClock,
}
const values = new StateValues<unknown, unknown>(options)

export const clusterRows = target({
  name: 'cluster-rows',
  about: 'members, shared state and their logs in PostgreSQL; values as readers and operators see them',
  input: (tape) => ({
    key: hostileText(tape, 'rates', 'a\u0001\u0001b'),
    json: hostileJsonText(tape, { a: 1 }, { service: 'shop', group: 'g', meta: { zone: 'a' } }),
    changes: hostileJsonText(tape, [
      { kind: 'put', key: 'rates', json: '1', instance: 'i', generation: '3' },
      { kind: 'delete', key: 'x' },
      { kind: 'joined', ...MEMBER },
    ]),
    bound: hostileJson(tape, { instance: 'i', generation: '3' }) as object,
  }),
  isAsync: true,
  async run({ key, json, changes }) {
    const record = stateRecord({ key, version: '3', json, instance: key, generation: '3' })
    const shared = values.decodeShared(record)
    check(shared.error === undefined || shared.value === undefined, 'it has a value and an error')
    const member = memberRecord({ ...MEMBER, instance: key, json })
    const store = {
      members: async () => ({ revision: 1, records: [member] }),
      read: async () => ({ revision: 1, records: [record] }),
    }
    const admin = new StoreClusterAdmin(async () => store as never)
    const [line] = await admin.members('c')
    check(line === undefined || (typeof line.meta === 'object' && line.meta !== null), 'the metadata is none')
    await admin.state('c', 'rates')
    values.decode(record)
    rowEntry({ revision: '3', previous: '2', changes })
  },
})
