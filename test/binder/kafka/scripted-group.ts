const FETCH_COUNT = 3

export type Refusal = 'ILLEGAL_GENERATION' | 'UNKNOWN_MEMBER_ID' | 'REBALANCE_IN_PROGRESS'

export interface Place {
  readonly memberId: string
  readonly generation: number
}

/**
 * One broker with one topic and one group, and one member of it that is real. Nothing is answered before the test says so, and
 * in the order of a connection: a request waits behind the one before it, and the client may read several answers at once.
 * Other members are there only as what they take and give.
 */
export class ScriptedGroup {
  /** By partition: the end of the log, what the group has committed, what was begun by anybody. */
  readonly ends: number[]
  readonly committed: number[]
  readonly begun: number[]
  readonly #refuse: (why: Refusal) => Error
  #assigned: readonly number[] = []
  #next: readonly number[]
  #othersTake = 0
  #generation = 0
  #members = 0
  #member: string | undefined
  #rebalancing = false
  /** The connection to the coordinator, and the one for fetching. */
  readonly #asked: Array<() => void> = []
  readonly #fetches: Array<() => void> = []
  #answers: Array<() => void> = []

  /** @param refuse what the client is told */
  constructor(ends: readonly number[], refuse: (why: Refusal) => Error) {
    this.ends = [...ends]
    this.committed = ends.map(() => 0)
    this.begun = ends.map(() => 0)
    this.#next = ends.map((_, partition) => partition)
    this.#refuse = refuse
  }

  /** The partitions of a member that has joined and is not asked to join again; `undefined` when there is none. */
  get settledOn(): readonly number[] | undefined {
    return this.#member === undefined || this.#rebalancing ? undefined : this.#assigned
  }

  // ---- what the test says

  /** The coordinator takes the next request. */
  serve(): void {
    this.#asked.shift()?.()
  }

  serveFetch(): void {
    this.#fetches.shift()?.()
  }

  /** The client reads everything that was answered, in one piece. */
  read(): void {
    const answers = this.#answers
    this.#answers = []
    for (const answer of answers) answer()
  }

  /** Another member comes or goes: the next join gets these partitions, and others do so many of the rest. */
  rebalance(next: readonly number[], othersTake: number): void {
    this.#rebalancing = true
    this.#next = next
    this.#othersTake = othersTake
  }

  /** The session is over: the group forgets the member. */
  expel(): void {
    this.#member = undefined
  }

  // ---- what the client asks

  ask<T>(answer: () => T, of: 'coordinator' | 'leader' = 'coordinator'): Promise<T> {
    const queue = of === 'leader' ? this.#fetches : this.#asked
    return new Promise((resolve, reject) => {
      queue.push(() => {
        try {
          const value = answer()
          this.#answers.push(() => resolve(value))
        } catch (error) {
          this.#answers.push(() => reject(error as Error))
        }
      })
    })
  }

  join(memberId: string): Place {
    if (memberId !== '' && memberId !== this.#member) throw this.#refuse('UNKNOWN_MEMBER_ID')
    this.#member ??= `m${++this.#members}`
    this.#generation++
    this.#rebalancing = false
    this.#assigned = this.#next
    for (const [partition, end] of this.ends.entries()) {
      if (this.#assigned.includes(partition)) continue
      const position = Math.min(end, (this.committed[partition] ?? 0) + this.#othersTake)
      this.committed[partition] = position
      this.begun[partition] = Math.max(this.begun[partition] ?? 0, position)
    }
    return { memberId: this.#member, generation: this.#generation }
  }

  /** The share of the member. */
  sync(place: Place): readonly number[] {
    this.heartbeat(place)
    return this.#assigned
  }

  heartbeat(place: Place): void {
    this.#requireKnown(place)
    if (this.#rebalancing) throw this.#refuse('REBALANCE_IN_PROGRESS')
  }

  commit(place: Place, positions: ReadonlyMap<number, number>): void {
    this.#requireKnown(place)
    for (const [partition, position] of positions) this.committed[partition] = position
  }

  /** The offsets that a fetch brings. */
  offsetsFrom(partition: number, from: number): readonly number[] {
    const count = Math.max(0, Math.min(FETCH_COUNT, (this.ends[partition] ?? 0) - from))
    return Array.from({ length: count }, (_, i) => from + i)
  }

  #requireKnown({ memberId, generation }: Place): void {
    if (memberId !== this.#member) throw this.#refuse('UNKNOWN_MEMBER_ID')
    if (generation !== this.#generation) throw this.#refuse('ILLEGAL_GENERATION')
  }
}
