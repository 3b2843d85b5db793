import type {
  BeatReply,
  DescribeRequest,
  Generation,
  JoinReply,
  JoinRequest,
  MemberRecord,
  MembersReading,
  MemberTransition,
} from '../store/cluster-store.ts'
import { MemoryLog } from './log.ts'

/** Transitions that are kept for watchers that come back. */
const KEEP_TRANSITIONS = 1_000
const REFUSE_MS = 60_000

interface Kept {
  readonly record: MemberRecord
  /** When it turns suspect, or dead when it is suspect. */
  readonly dueAt: number
}

/** Time in two forms: epoch microseconds for revisions, and milliseconds that never go back for what is due. */
export interface Moment {
  readonly us: number
  readonly ms: number
}

/** The members of one cluster and the log of their transitions. */
export class MemoryMembers {
  readonly log = new MemoryLog()
  readonly #members = new Map<string, Kept>()
  readonly #givenUp = new Map<string, number>()
  readonly #onEnded: (member: Generation, at: Moment) => void
  #lastGeneration = 0
  #sweptAt: number | undefined

  constructor(onEnded: (member: Generation, at: Moment) => void) {
    this.#onEnded = onEnded
  }

  read(): MembersReading {
    return { revision: this.log.last, records: [...this.#members.values()].map(({ record }) => record) }
  }

  isCurrent({ instance, generation }: Generation): boolean {
    return this.#members.get(instance)?.record.generation === generation
  }

  join(request: JoinRequest, at: Moment): JoinReply {
    const { cluster: _, ...described } = request
    const before = this.#members.get(request.instance)?.record
    if (before?.joinId === request.joinId) return { status: 'joined', generation: before.generation }
    if ((this.#givenUp.get(request.joinId) ?? 0) > at.ms) return { status: 'given_up' }
    if (before !== undefined) this.#end(before, 'replaced', at)
    const generation = Math.max(this.#lastGeneration + 1, at.us)
    this.#lastGeneration = generation
    const joinedAt = Math.floor(at.us / 1_000)
    this.#keep({ ...described, generation, status: 'alive', joinedAt, sequence: 0 }, at, 'joined')
    return { status: 'joined', generation }
  }

  beat(instance: string, generation: number, guardMs: number, at: Moment): BeatReply {
    if (this.log.last === 0) return { status: 'forgotten' }
    const record = this.#members.get(instance)?.record
    if (record?.generation !== generation) return { status: 'evicted', current: record?.generation }
    this.#keep({ ...record, status: 'alive' }, at, record.status === 'suspect' ? 'recovered' : undefined)
    this.sweep(guardMs, at)
    return { status: 'confirmed' }
  }

  sweep(guardMs: number, at: Moment): void {
    const gapMs = at.ms - (this.#sweptAt ?? at.ms)
    this.#sweptAt = at.ms
    for (const { record, dueAt } of this.#members.values()) {
      const couldBeHeard = gapMs <= record.suspectAfterMs
      // The last sweep is longer ago than its time to be suspect: it gets its full time anew.
      if (!couldBeHeard && (gapMs > guardMs || dueAt <= at.ms)) this.#keep(record, at)
      else if (dueAt > at.ms) continue
      else if (record.status === 'alive') this.#keep({ ...record, status: 'suspect' }, at, 'suspect')
      else this.#end(record, 'dead', at)
    }
  }

  describe(request: DescribeRequest, at: Moment): 'described' | 'evicted' {
    const kept = this.#members.get(request.instance)
    if (kept?.record.generation !== request.generation) return 'evicted'
    const { sequence, json } = request
    if (sequence <= kept.record.sequence) return 'described'
    const record = { ...kept.record, sequence, json }
    this.#members.set(record.instance, { record, dueAt: kept.dueAt })
    this.#log(record, 'updated', at)
    return 'described'
  }

  leave(instance: string, joinId: string, forget: boolean, at: Moment): void {
    if (forget) this.#givenUp.set(joinId, at.ms + REFUSE_MS)
    for (const [id, until] of this.#givenUp) if (until < at.ms) this.#givenUp.delete(id)
    const record = this.#members.get(instance)?.record
    if (record?.joinId === joinId) this.#end(record, 'left', at)
  }

  restore(members: readonly MemberRecord[], at: Moment): void {
    if (this.log.last > 0) return
    for (const record of members) {
      this.#lastGeneration = Math.max(this.#lastGeneration, record.generation)
      this.#keep({ ...record, status: 'alive' }, at, 'joined')
    }
  }

  clear(): void {
    this.#members.clear()
    this.#givenUp.clear()
    this.#lastGeneration = 0
    this.#sweptAt = undefined
    this.log.clear()
  }

  /** Gives it its full time, and logs the transition if there is one. */
  #keep(record: MemberRecord, at: Moment, transition?: MemberTransition): void {
    const forMs = record.status === 'alive' ? record.suspectAfterMs : record.deadAfterMs - record.suspectAfterMs
    this.#members.set(record.instance, { record, dueAt: at.ms + forMs })
    if (transition !== undefined) this.#log(record, transition, at)
  }

  #end(record: MemberRecord, transition: 'left' | 'dead' | 'replaced', at: Moment): void {
    this.#members.delete(record.instance)
    this.#log(record, transition, at)
    this.#onEnded(record, at)
  }

  #log(member: MemberRecord, kind: MemberTransition, at: Moment): void {
    this.log.append(at.us, KEEP_TRANSITIONS, [{ kind, member }])
  }
}
