import type { Claim } from '../store.ts'
import { STRAGGLER_MS } from '../undo-acquisition.ts'
import { type QuorumKeys, quorumKeys } from './vote-script-calls.ts'

/** Possible remains of a claim on the servers, as far as this process knows. */
export interface ClaimVotes {
  readonly keys: QuorumKeys
  /** By the number of the server; those that were not asked yet may be missing. */
  readonly votes: TraceOfVote[]
  /** By the number of the server: it has confirmed the release, and a second "not yours" from it is no news. */
  readonly released: boolean[]
  /** When the claim began to wait, in us of a server's time: its order in the line of every server. 0: not yet. */
  ticket: number
  /** The claim may have a place in the line of servers. */
  waited: boolean
  /** Its place in the line when it last asked. */
  position: number | undefined
  /** Token of the grant; 0 before it. */
  token: number
  /** Released or given up: no more votes are asked for. */
  over: boolean
  /** When nothing of it can be left, monotonic ms. */
  until: number
}

/**
 * The server has voted for the claim, is being asked (what is sent after that arrives after it), or may have voted, or
 * may yet. `undefined`: there is nothing of the claim.
 */
export type TraceOfVote = 'granted' | 'asked' | 'unknown' | undefined

/** True when no server has, or may have, voted for it. */
export function isUndone({ votes }: ClaimVotes): boolean {
  for (const vote of votes) if (vote !== undefined) return false
  return true
}

const SWEEP_EVERY = 1_024

/** Traces by value. Dropped when undone; those of claims that just ended are swept when nothing of them can be left. */
export class Traces {
  readonly #prefix: string
  readonly #now: () => number
  readonly #byValue = new Map<string, ClaimVotes>()
  #opened = 0

  /** @param now monotonic ms */
  constructor(prefix: string, now: () => number) {
    this.#prefix = prefix
    this.#now = now
  }

  get(value: string): ClaimVotes | undefined {
    return this.#byValue.get(value)
  }

  /** For a request that keeps its effect for `ttlMs`. */
  open({ key, value }: Claim, ttlMs: number): ClaimVotes {
    if (++this.#opened % SWEEP_EVERY === 0) this.#sweep()
    const until = this.#now() + Math.max(ttlMs, STRAGGLER_MS)
    const known = this.#byValue.get(value)
    if (known !== undefined) {
      known.until = Math.max(known.until, until)
      return known
    }
    const trace: ClaimVotes = {
      keys: quorumKeys(this.#prefix, key, value),
      votes: [],
      released: [],
      ticket: 0,
      waited: false,
      position: undefined,
      token: 0,
      over: false,
      until,
    }
    this.#byValue.set(value, trace)
    return trace
  }

  drop(value: string): void {
    this.#byValue.delete(value)
  }

  #sweep(): void {
    const now = this.#now()
    for (const [value, { until }] of this.#byValue) if (until <= now) this.#byValue.delete(value)
  }
}
