import { loadRedlock, type Redlock, type RedlockVoter } from './load-redlock.ts'
import type { Round } from './round.ts'

/**
 * The voting, done by `redlock`: each of its "clients" represents one of our questions to one server. It receives what it needs
 * to be safe: an odd number of voters, each of which settles in time and never rejects, so that there is always a majority and no
 * promise stays pending; and no retries of its own, which would keep votes of a lost round.
 *
 * Every question is passed to it as a release, because of its three operations this is the one that only asks all and counts.
 */
export class Ballot {
  readonly #size: number
  #loading: Promise<Redlock> | undefined
  #redlock: Redlock | undefined

  /** @param size number of voters: odd, at least 3 */
  constructor(size: number) {
    this.#size = size
  }

  /** Asks all. True as soon as a majority votes for it, false as soon as a majority does not. */
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
