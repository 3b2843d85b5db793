import { loadRedlock, type Redlock, type RedlockVoter } from './load-redlock.ts'
import type { Round } from './round.ts'

/**
 * The voting, done by `redlock`: behind each of its "clients" stands one question of ours to one server. It is given
 * what it needs to be safe: an odd number of voters, each of which settles in time and never rejects, so that there is
 * always a majority and no promise of it stays open; and no retries of its own, which would keep votes of a lost round.
 *
 * Whatever is asked, it is put to it as a release: of its three operations the one that only asks all and counts.
 */
export class Ballot {
  readonly #size: number
  #loading: Promise<Redlock> | undefined
  #redlock: Redlock | undefined

  /** @param size how many vote: odd, at least 3 */
  constructor(size: number) {
    this.#size = size
  }

  /** Asks all. True as soon as a majority votes for it, false as soon as one does not. */
  vote(round: Round): Promise<boolean> {
    if (this.#redlock === undefined) return this.#load().then(() => this.vote(round))
    return this.#redlock.release({ resources: [round], value: '', expiration: 0 }).then(isWon, isLost)
  }

  async #load(): Promise<void> {
    try {
      this.#loading ??= loadRedlock().then((RedlockClass) => {
        const voters = Array.from({ length: this.#size }, (_, voter) => voterOf(voter))
        return new RedlockClass(voters, { retryCount: 0 })
      })
      this.#redlock = await this.#loading
    } catch (error) {
      this.#loading = undefined
      throw error
    }
  }
}

const isWon = (): boolean => true

function isLost(error: unknown): boolean {
  if (error instanceof Error && error.name === 'ExecutionError') return false
  throw error
}

/** A client in redlock's sense. The "resource" of its lock is our round. */
function voterOf(voter: number): RedlockVoter {
  const cast = (_script: string, _keyCount: number, [round]: readonly unknown[]): Promise<number> =>
    (round as Round).ask(voter)
  return { evalsha: cast, eval: cast }
}
