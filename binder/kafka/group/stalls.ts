import type { Clock } from '../../../core/clock.ts'
import type { Stall } from '../../transport/transport.ts'
import { transportError } from '../errors.ts'

/**
 * Time after which a stall is reported. By default the broker aborts a producer's transaction after a minute, and another replica
 * becomes leader within seconds.
 */
const WAITING_MS = 10_000
/** Marks a partition without a leader, in place of an offset. */
const NO_LEADER = -1
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000

/** Report of a fetch that began at `offset` about a partition. */
export interface FetchNews {
  readonly offset: number
  readonly answer: {
    readonly partition: number
    readonly highWatermark: string | number
    readonly lastStableOffset: string | number
    readonly messages: ReadonlyArray<{ readonly offset: string | number | bigint }>
    /** A batch that cannot be read, which blocks everything behind it in its partition. */
    readonly unreadable?: { readonly offset: number; readonly error: Error } | undefined
  }
}

/** A fetching member. */
export interface FetchBlock {
  /** Stops fetching a partition until `unblock`. */
  block(partition: number): void
  unblock(partition: number): void
  isBlocked(partition: number): boolean
}

interface StalledPartition {
  readonly stall: Stall
  /** Number of failed fetches of the same batch. */
  readonly tries: number
}

/**
 * Partitions that are blocked although they contain records, according to fetches: behind an unreadable batch, which is fetched
 * again after growing pauses, behind an open transaction, or without a leader. The other partitions continue. Also reasons that
 * block the group itself: members of other topics, commits that the broker refuses.
 */
export class Stalls {
  readonly #topic: string
  readonly #clock: Clock
  readonly #gate: FetchBlock
  readonly #onChange: (stall: Stall | undefined) => void
  readonly #places = new Map<number, StalledPartition>()
  /** Time since which the partition waits at its last stable offset, or for a leader. */
  readonly #waiting = new Map<number, { readonly offset: number; readonly since: number }>()
  readonly #timers = new Set<() => void>()
  /** Stall because other members read other topics. */
  #sharing: Stall | undefined
  /** Stall because the broker refuses commits. */
  #uncommitted: Stall | undefined

  constructor(topic: string, clock: Clock, gate: FetchBlock, onChange: (stall: Stall | undefined) => void) {
    this.#topic = topic
    this.#clock = clock
    this.#gate = gate
    this.#onChange = onChange
  }

  heard({ offset, answer }: FetchNews): void {
    const { partition, messages, unreadable } = answer
    const hasMore = messages.some((record) => Number(record.offset) >= offset)
    if (unreadable !== undefined && !hasMore) this.#unreadable(partition, unreadable.offset, unreadable.error)
    else if (!hasMore && offset >= Number(answer.lastStableOffset) && Number(answer.highWatermark) > offset)
      this.#behindTransaction(partition, offset)
    else this.#clear(partition)
  }

  /** Forgets everything, for another assignment or at the end. */
  reset(): void {
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
    this.#waiting.clear()
    const had = this.#places.size > 0 || this.#sharing !== undefined || this.#uncommitted !== undefined
    this.#places.clear()
    this.#sharing = undefined
    this.#uncommitted = undefined
    if (had) this.#onChange(undefined)
  }

  /**
   * Reports that the leading member distributes its own topics among all members: some get partitions of a topic that they do not
   * read, and no other member reads those.
   * @param topics topics that members read besides this one
   */
  shared(groupId: string, topics: readonly string[]): void {
    if (topics.length === 0) return
    const names = topics.map((each) => `"${each}"`).join(', ')
    const text = `members of the Kafka group "${groupId}" read ${names} beside "${this.#topic}": partitions of each may have no reader`
    const remedy = 'Give each topic a Kafka group of its own (groupIds), or stop the other program'
    const reason = transportError('mismatch', text, this.#topic, undefined, remedy)
    this.#sharing = { reason, isPassing: false }
    this.#tell()
  }

  /** Records whether a broker leads the partition. */
  led(partition: number, isLed: boolean): void {
    if (!isLed) this.#withoutLeader(partition)
    else if (this.#waiting.get(partition)?.offset === NO_LEADER) this.#clear(partition)
  }

  /** Records that the broker refuses commits, or, with `undefined`, accepts them again. */
  commitsRefused(error: Error | undefined): void {
    const text = `the group's offsets of "${this.#topic}" cannot be committed: ${error?.message}`
    const remedy =
      'Messages are handled until 50,000 of a partition wait for their commit, and a crash repeats them; check the replicas of ' +
      '__consumer_offsets and the rights on the group. It is tried again'
    const reason = transportError('refused', text, this.#topic, error, remedy)
    this.#uncommitted = error && { reason, isPassing: false }
    this.#tell()
  }

  #unreadable(partition: number, offset: number, error: Error): void {
    // A fetch that was running at that time.
    if (this.#gate.isBlocked(partition)) return
    const tries = (this.#places.get(partition)?.tries ?? 0) + 1
    const where = `partition ${partition} of "${this.#topic}" at offset ${offset}`
    const remedy =
      'The other partitions go on; this one is tried again, and goes on when the batch can be read or is deleted'
    const reason = transportError('refused', `${where} cannot be read: ${error.message}`, this.#topic, error, remedy)
    this.#put(partition, { stall: { reason, isPassing: false }, tries })
    this.#gate.block(partition)
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1))
    const cancel = this.#clock.setTimer(pauseMs, () => {
      this.#timers.delete(cancel)
      this.#gate.unblock(partition)
    })
    this.#timers.add(cancel)
  }

  #behindTransaction(partition: number, offset: number): void {
    if (!this.#waitsLong(partition, offset)) return
    const where = `partition ${partition} of "${this.#topic}" at offset ${offset}`
    const waits = `${where} waits behind a transaction of another producer that is open for more than ${WAITING_MS} ms`
    const remedy =
      'It goes on when that one commits or aborts, or at its transaction.timeout.ms; find a hanging one with kafka-transactions.sh find-hanging'
    const reason = transportError('unavailable', waits, this.#topic, undefined, remedy)
    this.#put(partition, { stall: { reason, isPassing: true }, tries: 0 })
  }

  #withoutLeader(partition: number): void {
    if (!this.#waitsLong(partition, NO_LEADER)) return
    const waits = `partition ${partition} of "${this.#topic}" has had no leader for more than ${WAITING_MS} ms`
    const remedy = 'The other partitions go on; this one goes on when a broker with an in-sync replica of it is back'
    const reason = transportError('unavailable', waits, this.#topic, undefined, remedy)
    this.#put(partition, { stall: { reason, isPassing: false }, tries: 0 })
  }

  /** Returns true once, after the partition has waited there for long. */
  #waitsLong(partition: number, offset: number): boolean {
    const known = this.#waiting.get(partition)
    const now = this.#clock.monotonic()
    if (known?.offset === offset) return now - known.since >= WAITING_MS && !this.#places.has(partition)
    this.#clear(partition)
    this.#waiting.set(partition, { offset, since: now })
    return false
  }

  #clear(partition: number): void {
    this.#waiting.delete(partition)
    if (this.#places.delete(partition)) this.#tell()
  }

  #put(partition: number, place: StalledPartition): void {
    this.#places.set(partition, place)
    this.#tell()
  }

  /** Reports the worst problem: those that need an operator take precedence over temporary ones. */
  #tell(): void {
    const all = [...this.#places.values()].map(({ stall }) => stall)
    if (this.#sharing !== undefined) all.push(this.#sharing)
    if (this.#uncommitted !== undefined) all.push(this.#uncommitted)
    this.#onChange(all.find(({ isPassing }) => !isPassing) ?? all[0])
  }
}
