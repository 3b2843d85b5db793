const FETCH_COUNT = 3

export type Refusal =
  | 'ILLEGAL_GENERATION'
  | 'UNKNOWN_MEMBER_ID'
  | 'REBALANCE_IN_PROGRESS'
  | 'NOT_COORDINATOR_FOR_GROUP'
  | 'GROUP_LOAD_IN_PROGRESS'
  | 'NOT_LEADER_FOR_PARTITION'

type Peer = 'coordinator' | 'leader'

interface Asked {
  readonly take: () => void
  readonly fail: (error: unknown) => void
}

interface Answer {
  readonly of: Peer
  readonly read: () => void
  readonly fail: (error: unknown) => void
}

export interface Place {
  readonly memberId: string
  readonly generation: number
}

/**
 * A broker with one topic, one group and one real member. It answers nothing before the test says so, and answers in
 * the order of a connection: a request waits for the one before it, and the client may read several answers at once.
 * Other members exist only as the partitions that they take and give.
 */
export class ScriptedGroup {
  /**
   * Per partition: the end of the log, the group's committed offset, and the offset up to which any member has begun.
   */
  readonly ends: number[]
  readonly committed: number[]
  readonly begun: number[]
  /** Per partition: the offsets that any member has settled. */
  readonly settled: ReadonlyArray<Set<number>>
  /** How often a member was told its share, and had a heartbeat answered. */
  shares = 0
  heartbeats = 0
  /** Joins that are under way. */
  joins = 0
  readonly #refuse: (why: Refusal) => Error
  readonly #lost: () => Error
  #assigned: readonly number[] = []
  #next: readonly number[]
  #othersTake = 0
  #generation = 0
  #members = 0
  #member: string | undefined
  #rebalancing = false
  /** Refusals with which the coordinator answers the next requests. */
  #away: Refusal[] = []
  /** The next fetch reaches a broker that no longer leads the partitions. */
  #isElectionDue = false
  /** The connection to the coordinator, and the one for fetching. */
  #asked: Asked[] = []
  readonly #fetches: Asked[] = []
  #answers: Answer[] = []

  /** @param refuse what the client is told @param lost what it is told when a connection ends */
  constructor(ends: readonly number[], refuse: (why: Refusal) => Error, lost: () => Error) {
    this.ends = [...ends]
    this.committed = ends.map(() => 0)
    this.begun = ends.map(() => 0)
    this.settled = ends.map(() => new Set())
    this.#next = ends.map((_, partition) => partition)
    this.#refuse = refuse
    this.#lost = lost
  }

  /** Partitions of a joined member that need not join again; `undefined` when there is none. */
  get settledOn(): readonly number[] | undefined {
    return this.#member === undefined || this.#rebalancing ? undefined : this.#assigned
  }

  // ---- orders of the test

  /** The coordinator takes the next request. */
  serve(): void {
    this.#asked.shift()?.take()
  }

  serveFetch(): void {
    this.#fetches.shift()?.take()
  }

  /** The client reads everything that was answered, in one piece. */
  read(): void {
    const answers = this.#answers
    this.#answers = []
    for (const answer of answers) answer.read()
  }

  /**
   * Starts a rebalance: another member comes or goes, the next join gets these partitions, and others take `othersTake`
   * of the rest.
   */
  rebalance(next: readonly number[], othersTake: number): void {
    this.#rebalancing = true
    this.#next = next
    this.#othersTake = othersTake
  }

  /** Moves the coordinator: it is unavailable for some requests, loads the group for some, and knows all commits. */
  move(gone: number, loading: number): void {
    this.#rebalancing = false
    this.#away = [
      ...Array.from({ length: gone }, () => 'NOT_COORDINATOR_FOR_GROUP' as const),
      ...Array.from({ length: loading }, () => 'GROUP_LOAD_IN_PROGRESS' as const),
    ]
  }

  /**
   * Moves a leader: the next fetch is refused, and kafkajs joins the group anew while other fetches are under way. When the fetch of another
   * broker is refused meanwhile, it begins a second join.
   */
  elect(): void {
    this.#isElectionDue = true
  }

  /** Ends the connection to the coordinator, with open requests and unread answers. */
  cut(): void {
    const [asked, answers] = [this.#asked, this.#answers]
    this.#asked = []
    this.#answers = answers.filter(({ of }) => of === 'leader')
    for (const each of [...asked, ...answers.filter(({ of }) => of === 'coordinator')]) each.fail(this.#lost())
  }

  /** The session is over: the group forgets the member. */
  expel(): void {
    this.#member = undefined
  }

  // ---- requests of the client

  ask<T>(answer: () => T, of: Peer = 'coordinator'): Promise<T> {
    const queue = of === 'leader' ? this.#fetches : this.#asked
    return new Promise((resolve, fail) => {
      const take = (): void => {
        try {
          const away = of === 'coordinator' ? this.#away.shift() : this.#takeElection()
          if (away !== undefined) throw this.#refuse(away)
          const value = answer()
          this.#answers.push({ of, fail, read: () => resolve(value) })
        } catch (error) {
          this.#answers.push({ of, fail, read: () => fail(error) })
        }
      }
      queue.push({ take, fail })
    })
  }

  /** Asks to join. The join is under way until this request fails, or that for the share (`askShare`) has an answer. */
  async askJoin<T>(answer: () => T): Promise<T> {
    this.joins++
    try {
      return await this.ask(answer)
    } catch (error) {
      this.joins--
      throw error
    }
  }

  askShare<T>(answer: () => T): Promise<T> {
    return this.ask(answer).finally(() => this.joins--)
  }

  #takeElection(): Refusal | undefined {
    if (!this.#isElectionDue) return undefined
    this.#isElectionDue = false
    return 'NOT_LEADER_FOR_PARTITION'
  }

  join(memberId: string): Place {
    if (memberId !== '' && memberId !== this.#member) throw this.#refuse('UNKNOWN_MEMBER_ID')
    this.#member ??= `m${++this.#members}`
    this.#generation++
    this.#rebalancing = false
    this.#assigned = this.#next
    for (const [partition, end] of this.ends.entries()) {
      if (this.#assigned.includes(partition)) continue
      const from = this.committed[partition] ?? 0
      const position = Math.min(end, from + this.#othersTake)
      for (let offset = from; offset < position; offset++) this.settled[partition]?.add(offset)
      this.committed[partition] = position
      this.begun[partition] = Math.max(this.begun[partition] ?? 0, position)
    }
    return { memberId: this.#member, generation: this.#generation }
  }

  /** The share of the member. */
  sync(place: Place): readonly number[] {
    this.#requireSettled(place)
    this.shares++
    return this.#assigned
  }

  heartbeat(place: Place): void {
    this.#requireSettled(place)
    this.heartbeats++
  }

  #requireSettled(place: Place): void {
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
