import type { ChangesReply, LogChange, LogEntry, LogFollower } from '../store/cluster-store.ts'
import { MAX_PAGE_BYTES } from '../store/log-page.ts'

interface Logged extends LogEntry {
  readonly requestId: string
}

/** Returns the first entries: at most `limit`, within the size of a page. */
function pageOf(entries: readonly Logged[], limit: number): readonly Logged[] {
  let bytes = 0
  const end = entries.findIndex(({ changes }, n) => {
    bytes += Buffer.byteLength(JSON.stringify(changes))
    return n === limit || (n > 0 && bytes > MAX_PAGE_BYTES)
  })
  return end < 0 ? entries : entries.slice(0, end)
}

interface Following {
  readonly follower: LogFollower
  told: number
}

/** A log that keeps its last entries, and passes new ones to its followers at once. */
export class MemoryLog {
  #last = 0
  #entries: Logged[] = []
  readonly #followers = new Set<Following>()

  get last(): number {
    return this.#last
  }

  append(nowUs: number, keep: number, changes: readonly LogChange[], requestId = ''): number {
    const entry = { revision: Math.max(this.#last + 1, nowUs), previous: this.#last, changes, requestId }
    this.#last = entry.revision
    this.#entries.push(entry)
    if (this.#entries.length > keep) this.#entries.splice(0, this.#entries.length - keep)
    for (const following of this.#followers) this.#tell(following)
    return entry.revision
  }

  read(after: number, limit: number): ChangesReply {
    if (after > this.#last) return { status: 'rolled_back' }
    if (after < this.#floor) return { status: 'compacted' }
    const known = after === this.#floor || this.#entries.some((entry) => entry.revision === after)
    if (!known) return { status: 'rolled_back' }
    return { status: 'ok', entries: pageOf(this.#after(after), limit) }
  }

  /**
   * Returns the revision with which a request was logged; `unknown` when the log does not contain it and begins after `since`. A
   * revision that this log never had belongs to a lost history, and proves nothing.
   */
  find(since: number, requestId: string): number | 'unknown' | undefined {
    const found = this.#entries.findLast((entry) => entry.requestId === requestId)
    const isOfThis = since <= this.#floor || this.#entries.some(({ revision }) => revision === since)
    return found?.revision ?? (this.#floor > (isOfThis ? since : 0) ? 'unknown' : undefined)
  }

  follow(after: number, follower: LogFollower): () => void {
    const following: Following = { follower, told: after }
    this.#followers.add(following)
    this.#tell(following)
    return () => this.#followers.delete(following)
  }

  /** Forgets everything; followers hear that it went back. */
  clear(): void {
    this.#last = 0
    this.#entries = []
    for (const following of this.#followers) this.#tell(following)
  }

  /** Everything after this revision is there. */
  get #floor(): number {
    return this.#entries[0]?.previous ?? this.#last
  }

  #after(revision: number): readonly Logged[] {
    const newest = this.#entries.at(-1)
    if (newest !== undefined && newest.previous === revision) return [newest]
    return this.#entries.filter((entry) => entry.revision > revision)
  }

  #tell(following: Following): void {
    if (this.#last < following.told) {
      following.told = this.#last
      following.follower.onRollback()
      return
    }
    const entries = this.#after(following.told)
    if (entries.length === 0) return
    following.told = this.#last
    following.follower.onEntries(entries)
  }
}
