/** Locks and leaders as their store has them, without the services' code. */
import { requireText } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import { requireNote } from 'concordat/operator'
import type { OperatorNote } from 'concordat/saga/coordinator'
import type { ForcedRelease, ListOptions, LockInfo, OperatorTrail } from './engine-types.ts'

/** The members of locks that the operator uses. */
export type OperatedLocks = Pick<Locks, 'inspect' | 'list' | 'forceRelease' | 'audit'>

/** The state that the operator saw before deciding. */
export interface HoldersSeen {
  /**
   * Tokens of the holders, or the term of the leader. The store compares them in the step that ends the leases: with another
   * holder, including one whose lease has ended and whose lock delay remains, nothing changes. @default ends the leases of all
   * current holders
   */
  readonly tokens?: readonly number[] | undefined
}

/** Lists locks, and ends the leases of a key. */
export interface LockAdmin {
  /** By key. Reads the whole store: for a person, not for a loop. @throws OperatorStoreMissing, `locks.store_unavailable` */
  list(options?: Pick<ListOptions, 'limit' | 'prefix'>): Promise<readonly LockInfo[]>
  /** `undefined` without holders and waiters. @throws as `list` */
  show(key: string): Promise<LockInfo | undefined>
  /**
   * Ends all leases of the key in one step, as `locks.forceRelease`: later tokens are above the one returned. A holder that
   * cannot be notified continues until its next renewal; its fenced writes fail once the fence has seen a later token.
   * @throws as `list`, `core.tables_missing`, `locks.unsupported`, `locks.holder_changed`, OperatorOutcomeNotKept
   */
  release(key: string, note: OperatorNote & HoldersSeen): Promise<ForcedRelease>
  /** The last forced releases of the key, oldest first. @throws as `list` */
  audit(key: string): Promise<readonly ForcedRelease[]>
}

/** Leader of a role. */
export interface LeaderLine {
  readonly role: string
  readonly instance: string
  /** Increases with every term of the role: the fencing token. */
  readonly term: number
  /** Epoch ms by the store's clock. */
  readonly sinceAt: number
  readonly expiresInMs: number
  /** Number of waiting candidates. Some may be dead and not yet detected. */
  readonly candidates: readonly string[]
}

/** Lists leaders, and ends a term. */
export interface LeaderAdmin {
  /** By role; a role between two terms is left out. At most 1,000. @throws as `LockAdmin.list` */
  list(): Promise<readonly LeaderLine[]>
  /** Ends the term now: the next candidate leads. @throws as `LockAdmin.release` */
  stepDown(role: string, note: OperatorNote & HoldersSeen): Promise<ForcedRelease>
}

const ROLES = 'election/'
const MOST_ROLES = 1_000

/** Key of the lock that the leader of a role holds. */
export function leaderKey(role: string): string {
  return `${ROLES}${role}`
}

/** Finds the locks at each call: their tables may be created later. */
export type OpenLocks = () => Promise<OperatedLocks>

interface ForcedDeed {
  readonly part: 'locks' | 'leader'
  readonly action: string
  readonly target: string
}

export class StoreLockAdmin implements LockAdmin {
  readonly #open: OpenLocks
  readonly #trail: OperatorTrail

  constructor(open: OpenLocks, trail: OperatorTrail) {
    this.#open = open
    this.#trail = trail
  }

  async list(options: Pick<ListOptions, 'limit' | 'prefix'> = {}): Promise<readonly LockInfo[]> {
    const { limit, prefix } = options
    const found = await (await this.#open()).list({ limit, prefix })
    return [...found].sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  async show(key: string): Promise<LockInfo | undefined> {
    return (await this.#open()).inspect(key)
  }

  async release(key: string, note: OperatorNote & HoldersSeen): Promise<ForcedRelease> {
    return this.releaseAs('locks.release', { part: 'locks', action: 'release', target: key }, key, note)
  }

  /**
   * @param deed name of the action in the audit
   */
  async releaseAs(path: string, deed: ForcedDeed, key: string, given: OperatorNote & HoldersSeen) {
    const note = requireNote(path, given)
    requireText(path, deed.target)
    const locks = await this.#open()
    return this.#trail.around(
      { ...deed, note },
      () => locks.forceRelease(key, { ...note, tokens: given.tokens }),
      ({ ended }) => (ended.length === 0 ? 'it had no holder' : `ended ${ended.map(({ owner }) => owner).join(', ')}`),
    )
  }

  async audit(key: string): Promise<readonly ForcedRelease[]> {
    return (await this.#open()).audit(key)
  }
}

export class StoreLeaderAdmin implements LeaderAdmin {
  readonly #locks: StoreLockAdmin

  constructor(locks: StoreLockAdmin) {
    this.#locks = locks
  }

  async list(): Promise<readonly LeaderLine[]> {
    const found = await this.#locks.list({ prefix: ROLES, limit: MOST_ROLES })
    return found.flatMap(({ key, holders: [holder], waiters }) => {
      if (holder === undefined || holder.expiresInMs <= 0) return []
      const { owner: instance, token: term, sinceAt, expiresInMs } = holder
      const candidates = waiters.map(({ owner }) => owner)
      return [{ role: key.slice(ROLES.length), instance, term, sinceAt, expiresInMs, candidates }]
    })
  }

  async stepDown(role: string, note: OperatorNote & HoldersSeen): Promise<ForcedRelease> {
    const deed = { part: 'leader', action: 'step-down', target: role } as const
    return this.#locks.releaseAs('leaders.stepDown', deed, leaderKey(role), note)
  }
}
