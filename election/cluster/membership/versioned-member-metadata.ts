import type { MemberMeta } from './membership.ts'
import { describeMember, type ResolvedMembership } from './membership-options.ts'

/** A member's description of itself, in numbered versions, and the version that the store has. */
export class MembershipMetadata {
  readonly #options: ResolvedMembership
  #json: string
  #sequence = 0
  #told = 0

  /** @throws `cluster.data_invalid`, `cluster.data_too_large` */
  constructor(options: ResolvedMembership) {
    this.#options = options
    this.#json = describeMember(options, options.meta)
  }

  get json(): string {
    return this.#json
  }

  get sequence(): number {
    return this.#sequence
  }

  /** False: the store has an older one. */
  get isTold(): boolean {
    return this.#told >= this.#sequence
  }

  /** @throws as the constructor: then nothing has changed */
  change(meta: MemberMeta): void {
    this.#json = describeMember(this.#options, meta)
    this.#sequence += 1
  }

  /** A new generation began with this version, and knows none of another. */
  begunWith(sequence: number): void {
    this.#told = sequence
  }

  /** The store has this version, or had a later one. */
  told(sequence: number): void {
    this.#told = Math.max(this.#told, sequence)
  }
}
