/** Locks and leaders, as their store sees them, without the services' code. */
import { requireText } from 'concordat/extension'
import type { Locks } from 'concordat/locks'
import { requireNote } from 'concordat/operator'
import type { OperatorNote } from 'concordat/saga/coordinator'
import type { ForcedRelease, ListOptions, LockInfo, OperatorTrail } from './engine-types.ts'

/** The members of locks that the operator uses. */
export type OperatedLocks = Pick<Locks, 'inspect' | 'list' | 'forceRelease' | 'audit'>

/** Sees locks, and takes one away. */
export interface LockAdmin {
  /** By key. Reads through the store: for a person, not for a loop. @throws OperatorStoreMissing, `locks.store_unavailable` */
  list(options?: Pick<ListOptions, 'limit' | 'prefix'>): Promise<readonly LockInfo[]>
  /** `undefined` without holders and waiters. @throws as `list` */
  show(key: string): Promise<LockInfo | undefined>
  /**
   * Ends all leases of the key in one step, as `locks.forceRelease`: later tokens are above the one returned. A holder that
   * cannot be told goes on until its next renewal; its fenced writes fail once the fence has seen a later token.
   * @throws as `list`, `core.tables_missing`, `locks.unsupported`, OperatorOutcomeNotKept
   */
  release(key: string, note: OperatorNote): Promise<ForcedRelease>
  /** The last forced releases of the key, oldest first. @throws as `list` */
  audit(key: string): Promise<readonly ForcedRelease[]>
}

/** Leader of a role. */
export interface LeaderLine {
  readonly role: string
  readonly instance: string
  /** Rises with every term of the role: the fencing token. */
  readonly term: number
  /** Epoch ms by the store's clock. */
  readonly sinceAt: number
  readonly expiresInMs: number
  /** Candidates in line. Some may be dead and not yet detected. */
  readonly candidates: readonly string[]
}

/** Sees leaders, and ends a term. */
export interface LeaderAdmin {
  /** By role; a role between two terms is left out. At most 1 000. @throws as `LockAdmin.list` */
  list(): Promise<readonly LeaderLine[]>
  /** Ends the term now: the next candidate leads. @throws as `LockAdmin.release` */
  stepDown(role: string, note: OperatorNote): Promise<ForcedRelease>
}

const ROLES = 'election/'
const MOST_ROLES = 1_000

/** Finds the locks with each call: tables may have come since. */
export type OpenLocks = () => Promise<OperatedLocks>

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

  async release(key: string, note: OperatorNote): Promise<ForcedRelease> {
    return this.#release('locks', 'release', key, requireNote('locks.release', note), key)
  }

  /** @param target as the audit names it */
  async releaseAs(part: 'leader', action: string, key: string, note: OperatorNote, target: string) {
    return this.#release(part, action, key, note, target)
  }

  async audit(key: string): Promise<readonly ForcedRelease[]> {
    return (await this.#open()).audit(key)
  }

  async #release(part: 'locks' | 'leader', action: string, key: string, note: OperatorNote, target: string) {
    requireText(`${part}.${action}`, target)
    const locks = await this.#open()
    return this.#trail.around(
      { part, action, target, note },
      () => locks.forceRelease(key, note),
      ({ ended }) => (ended.length === 0 ? 'it had no holder' : `ended ${ended.map(({ owner }) => owner).join(', ')}`),
    )
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

  async stepDown(role: string, note: OperatorNote): Promise<ForcedRelease> {
    const checked = requireNote('leaders.stepDown', note)
    return this.#locks.releaseAs('leader', 'step-down', `${ROLES}${role}`, checked, role)
  }
}
