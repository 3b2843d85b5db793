import type { Claim } from '../store.ts'
import { STRAGGLER_MS } from '../undo-acquisition.ts'
import { type QuorumKeys, quorumKeys } from './vote-script-calls.ts'

/** Possible remains of a claim on the servers, as far as this process knows. */
export interface ClaimVotes {
  readonly keys: QuorumKeys
  /** By the number of the server; servers that were not asked yet may be missing. */
  readonly votes: TraceOfVote[]
  /** By the number of the server: it has confirmed the release, so a second "not yours" from it can be ignored. */
  readonly released: boolean[]
  /** When the claim began to wait, in us of a server's time: its order in the queue of every server. 0: not yet. */
  ticket: number
  /** The claim may have a place in the queue of servers. */
  waited: boolean
  /** Its place in the queue at its last request. */
  position: number | undefined
  /** Token of the grant; 0 before it. */
  token: number
  /** Released or given up: no more votes are requested. */
  over: boolean
  /** When nothing of it can be left, monotonic ms. */
  until: number
}

/**
 * State of a server's vote for the claim: granted, being asked (later requests arrive after it), or possibly granted, now or
 * later. `undefined`: nothing of the claim is there.
 */
export type TraceOfVote = 'granted' | 'asked' | 'unknown' | undefined

/** True if no server has, or may have, voted for it. */
export function isUndone({ votes }: ClaimVotes): boolean {
  for (const vote of votes) if (vote !== undefined) return false
  return true
}

const SWEEP_EVERY = 1_024

/** Records by value. Deleted when undone; records of claims that just ended are swept when nothing of them can be left. */
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
