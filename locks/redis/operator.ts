import { DAY, MINUTE } from '../../core/clock.ts'
import { defineScript, type RedisConnection } from '../../core/redis/connection.ts'
import { LockError } from '../errors.ts'
import type { ForcedRelease, ForceOptions, LockHolder, LockInfo } from '../lock.ts'
import type { HolderChanged, ListRequest, LockOperator } from '../store.ts'
import { heldKey, lockKeys } from './keys.ts'
import { forcedMark, readJson, readMark, termsOf } from './lock-value-format.ts'
import { AUDIT, FORCE_RELEASE, INSPECT } from './scripts-operator.ts'

const inspectScript = defineScript(INSPECT)
const forceScript = defineScript(FORCE_RELEASE)
const auditScript = defineScript(AUDIT)

const AUDIT_ENTRIES = 100
const AUDIT_KEPT_MS = 90 * DAY
/** How long ended holders can learn who ended them, and their late requests are refused. */
const FORCED_KNOWN_MS = 1 * MINUTE
/** Holders may change between inspection and end; after this many attempts the operator gets an error. */
const FORCE_TRIES = 20

/** Reply of `INSPECT`. */
interface Seen {
  readonly info: LockInfo
  /** Values of the holders. */
  readonly values: readonly string[]
}

export class RedisOperator implements LockOperator {
  readonly #commands: RedisConnection
  readonly #prefix: string
  readonly #turn: string

  constructor(fields: { commands: RedisConnection; prefix: string; turn: string }) {
    this.#commands = fields.commands
    this.#prefix = fields.prefix
    this.#turn = fields.turn
  }

  async inspect(key: string): Promise<LockInfo | undefined> {
    const { info } = await this.#look(key)
    return info.holders.length + info.waiters.length === 0 ? undefined : info
  }

  async list({ limit, prefix, signal }: ListRequest): Promise<readonly LockInfo[]> {
    const found = new Map<string, LockInfo>()
    for await (const batch of this.#commands.scan(`${escapePattern(`${this.#prefix}{${prefix}`)}*`)) {
      signal?.throwIfAborted()
      const keys = new Set(batch.map((redisKey) => heldKey(redisKey, this.#prefix)))
      const fresh = [...keys].filter((key) => key !== undefined && !found.has(key)) as string[]
      const seen = await Promise.all(fresh.map((key) => this.#look(key)))
      for (const { info } of seen) if (info.holders.length > 0 && found.size < limit) found.set(info.key, info)
      if (found.size >= limit) break
    }
    return [...found.values()]
  }

  async forceRelease(
    key: string,
    force: ForceOptions,
    tokenFloor: number,
    tokens?: readonly number[],
  ): Promise<ForcedRelease | HolderChanged> {
    const { lock, fence, line, shared, notes, audit, dead } = lockKeys(this.#lockKey(key))
    const named = tokens === undefined ? 'all' : ` ${tokens.join(' ')} `
    for (let tries = 0; tries < FORCE_TRIES; tries++) {
      const { values } = await this.#look(key)
      const entry = await this.#commands.run(
        forceScript,
        [lock, fence, line, shared, notes, audit, ...values.map(dead)],
        [tokenFloor, forcedMark(force), FORCED_KNOWN_MS, this.#turn, AUDIT_ENTRIES, AUDIT_KEPT_MS, named, ...values],
      )
      if (Array.isArray(entry)) return { others: entry.map((value: string) => termsOf(value).owner) }
      if (typeof entry === 'string') return readEntry(key, entry)
    }
    throw new LockError('locks.store_unavailable', {
      store: 'redis',
      outcome: 'not_done',
      detail: `other holders came while "${key}" was being released by force`,
    })
  }

  async audit(key: string): Promise<readonly ForcedRelease[]> {
    const entries = await this.#commands.run(auditScript, [lockKeys(this.#lockKey(key)).audit], [])
    return (entries as string[]).map((entry) => readEntry(key, entry))
  }

  async #look(key: string): Promise<Seen> {
    const { lock, fence, line, shared, notes } = lockKeys(this.#lockKey(key))
    const reply = await this.#commands.run(inspectScript, [lock, fence, line, shared, notes], [])
    return read(key, reply as InspectReply)
  }

  #lockKey(key: string): string {
    return `${this.#prefix}{${key}}`
  }
}

type InspectReply = [
  now: number,
  value: string | null,
  fence: string | null,
  pttl: number,
  line: string[],
  shared: string[],
  notes: string[],
]

function read(key: string, [now, value, fence, pttl, line, flatShared, flatNotes]: InspectReply): Seen {
  const [notes, shared] = [pairs(flatNotes), pairs(flatShared)]
  const held =
    value === null
      ? [...shared]
          .filter(([each]) => !/^[#@]/.test(each))
          .map(([each, endsAt]) => ({
            value: each,
            stamp: [shared.get(`#${each}`), shared.get(`@${each}`)].join(' ').trimEnd(),
            freesInMs: Number(endsAt) - now,
          }))
      : [{ value, stamp: fence, freesInMs: pttl }]
  const live = held.filter(({ freesInMs }) => freesInMs > 0)
  const waiting = line.filter((each) => Number.parseInt(notes.get(each) ?? '0', 10) > now)
  const info = {
    key,
    holders: live
      .map((each) => holder(each.value, each.stamp ?? '0', each.freesInMs))
      .toSorted((a, b) => a.token - b.token),
    waiters: waiting.map((each) => {
      const { owner, mode, limit } = termsOf(each)
      return { owner, mode, permits: permitsOf(limit, mode) }
    }),
  }
  return { info, values: live.map((each) => each.value) }
}

/** @param stamp `<token>`, or `<token> <granted at, µs>` if the token does not contain the time */
function holder(value: string, stamp: string, freesInMs: number): LockHolder {
  const { owner, mode, limit, lockDelayMs } = termsOf(value)
  const [token, sinceUs = token] = stamp.split(' ').map(Number) as [number, number?]
  return {
    owner,
    token,
    mode,
    permits: permitsOf(limit, mode),
    sinceAt: Math.floor(sinceUs / 1_000),
    expiresInMs: Math.max(0, freesInMs - lockDelayMs),
    freesInMs,
  }
}

function permitsOf(limit: number, mode: LockHolder['mode']): number | undefined {
  return mode === 'exclusive' || limit === Number.POSITIVE_INFINITY ? undefined : limit
}

function readEntry(key: string, entry: string): ForcedRelease {
  const { mark, at, token, ended } = (readJson(entry) ?? {}) as Record<string, unknown>
  const said = typeof mark === 'string' ? readMark(mark) : undefined
  if (said === undefined || typeof ended !== 'string' || typeof at !== 'string' || typeof token !== 'string')
    throw new LockError(
      'locks.store_refused',
      { store: 'redis' },
      new Error(`an entry in the audit of "${key}" is another program's`),
    )
  const { by, reason } = said
  const holders = ended === '' ? [] : ended.split('\n')
  return {
    key,
    by,
    reason,
    at: Number(at),
    token: Number(token),
    ended: holders.map((each) => {
      const [value = '', granted] = each.split(' ')
      const { owner, mode } = termsOf(value)
      return { owner, token: Number(granted), mode }
    }),
  }
}

/** Redis returns hashes and scores as a flat list. */
function pairs(flat: readonly string[]): Map<string, string> {
  return new Map(flat.flatMap((name, n) => (n % 2 === 0 ? [[name, flat[n + 1] ?? '']] : [])) as Array<[string, string]>)
}

/** For MATCH: without wildcards. */
function escapePattern(text: string): string {
  return text.replaceAll(/[*?[\]\\^]/g, '\\$&')
}
