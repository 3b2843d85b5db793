import { loadRedlock, type Redlock, type RedlockVoter } from './redlock-package.ts'

/** Puts a question to server number `voter`; true is a vote for. Settles within the time of a server, never rejects. */
export type Ask = (voter: number) => Promise<boolean>

type Step = 'acquire' | 'extend' | 'release'

/**
 * The voting, done by `redlock`: behind each of its "clients" stands one question of ours to one server. It is given
 * what it needs to be safe: an odd number of voters, each of which settles in time and never rejects, so that there is
 * always a majority and no promise of it stays open; and no retries of its own, which would keep votes of a lost round.
 */
export class Ballot {
  readonly #size: number
  readonly #open = new Map<string, Partial<Record<Step, Ask>>>()
  #redlock: Promise<Redlock> | undefined
  #votes = 0

  /** @param size how many vote: odd, at least 3 */
  constructor(size: number) {
    this.#size = size
  }

  /** True when a majority votes for it. If not, `undo` is asked of all, also of those that have not answered. */
  acquire(ask: Ask, undo: Ask): Promise<boolean> {
    return this.#vote({ acquire: ask, release: undo }, (redlock, id) => redlock.acquire([id], 1))
  }

  extend(ask: Ask): Promise<boolean> {
    return this.#vote({ extend: ask }, (redlock, id) => redlock.extend(lockOf(id), 1))
  }

  release(ask: Ask): Promise<boolean> {
    return this.#vote({ release: ask }, (redlock, id) => redlock.release(lockOf(id)))
  }

  async #vote(
    questions: Partial<Record<Step, Ask>>,
    put: (redlock: Redlock, id: string) => Promise<unknown>,
  ): Promise<boolean> {
    const redlock = await (this.#redlock ??= this.#load())
    const id = String(++this.#votes)
    this.#open.set(id, questions)
    try {
      await put(redlock, id)
      return true
    } catch (error) {
      if (error instanceof Error && error.name === 'ExecutionError') return false
      throw error
    } finally {
      this.#open.delete(id)
    }
  }

  async #load(): Promise<Redlock> {
    try {
      const RedlockClass = await loadRedlock()
      const steps = { acquireScript: () => 'acquire', extendScript: () => 'extend', releaseScript: () => 'release' }
      const stepOf = new Map<string, Step>()
      const voters = Array.from({ length: this.#size }, (_, voter) => this.#voter(voter, stepOf))
      const redlock = new RedlockClass(voters, { retryCount: 0, driftFactor: 0 }, steps)
      stepOf.set(redlock.scripts.acquireScript.hash, 'acquire')
      stepOf.set(redlock.scripts.extendScript.hash, 'extend')
      stepOf.set(redlock.scripts.releaseScript.hash, 'release')
      return redlock
    } catch (error) {
      this.#redlock = undefined
      throw error
    }
  }

  /** What redlock takes for a client. Its "script" names the step, its "key" the question. */
  #voter(voter: number, stepOf: ReadonlyMap<string, Step>): RedlockVoter {
    const cast = (hash: string, _keyCount: number, [id]: readonly unknown[]): Promise<number> => {
      const step = stepOf.get(hash)
      const ask = step === undefined ? undefined : this.#open.get(String(id))?.[step]
      return ask === undefined ? Promise.resolve(0) : ask(voter).then(Number)
    }
    return { evalsha: cast, eval: cast }
  }
}

/** As long as redlock can judge it, it does not expire: what time is left is judged by our lease. */
function lockOf(id: string): { resources: string[]; value: string; expiration: number } {
  return { resources: [id], value: id, expiration: Number.POSITIVE_INFINITY }
}
