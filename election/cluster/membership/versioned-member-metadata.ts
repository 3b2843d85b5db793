import type { MemberMeta } from './membership.ts'
import { describeMember, type ResolvedMembership } from './membership-options.ts'

/** A member's description of itself, in numbered versions, and the version in the store. */
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

  /** False: the store has an older version. */
  get isTold(): boolean {
    return this.#told >= this.#sequence
  }

  /** Changes the metadata. @throws the errors of the constructor, without a change */
  change(meta: MemberMeta): void {
    this.#json = describeMember(this.#options, meta)
    this.#sequence += 1
  }

  /** Records that a new generation began with this version. */
  begunWith(sequence: number): void {
    this.#told = sequence
  }

  /** Records that the store has this version, or has had a later one. */
  told(sequence: number): void {
    this.#told = Math.max(this.#told, sequence)
  }
}
