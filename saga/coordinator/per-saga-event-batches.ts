/**
 * Batches the events for one saga into one write. A saga is one row, guarded by its revision: of a hundred outcomes that are
 * planned on one revision, one fits, and the others would be read, planned and sent again, each time with the whole state.
 *
 * So an event that arrives while this process writes its saga waits for that write. Then all waiting events pass through the
 * machine one after the other, each on the state that the previous one left, and the result is committed as one revision. Each
 * event succeeds or fails on its own: one that does not fit, or takes long to plan, leaves the line and is applied alone.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { SECOND } from '../../core/clock.ts'
import { within } from '../../core/time-limit.ts'
import { writeFault, writeOutcome } from '../../core/write-fault.ts'
import type { SagaEvent } from '../machine/event.ts'
import type { SagaKey } from '../store/store-types.ts'
import type { Applied, EventSender } from './apply-event-types.ts'
import { cacheKey, follows, isOther, type LoadedSaga } from './loaded-saga.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { folded, type Plan } from './write-plan.ts'
import type { WritePlanner } from './write-planner.ts'

/** Writes the events of a line, and those that leave it. */
export interface LineWriter {
  commit(plan: Plan): Promise<boolean>
  /** Called when a write failed; the senders of its events handle the failure. */
  failed(key: SagaKey, error: unknown): void
  /** Applies an event without waiting in a line. */
  alone(key: SagaKey, event: SagaEvent, sender: EventSender): Promise<Applied | undefined>
}

interface Waiting {
  readonly event: SagaEvent
  readonly sender: EventSender
  /** Runs work in the context of the sender. */
  readonly inside: <T>(work: () => T) => T
  readonly resolve: (applied: Applied | undefined) => void
  readonly reject: (error: unknown) => void
}

interface Line {
  readonly key: SagaKey
  /** Latest state that this process wrote while the line was open. */
  latest: LoadedSaga | undefined
  readonly waiting: Waiting[]
}

interface Fold {
  readonly plan: Plan
  readonly events: ReadonlyArray<{ readonly waiting: Waiting; readonly heard: boolean }>
}

/** Maximum number of events in one write. */
const MAX_FOLDED = 256
/** Time limit of planning one event: a slower schema or function of the definition must not delay other events. */
const PLAN_MS = 1 * SECOND
const HANGS = Symbol('hangs')

export class PerSagaEventBatches {
  readonly #runtime: CoordinatorRuntime
  readonly #planner: WritePlanner
  readonly #writer: LineWriter
  readonly #lines = new Map<string, Line>()

  constructor(runtime: CoordinatorRuntime, planner: WritePlanner, writer: LineWriter) {
    this.#runtime = runtime
    this.#planner = planner
    this.#writer = writer
  }

  /** Tells whether a write of this saga is under way, so that `join` applies. */
  isOpen(key: SagaKey): boolean {
    return this.#lines.has(cacheKey(key))
  }

  /** Returns the saga as last written, while events for it are under way. */
  latest(key: SagaKey): LoadedSaga | undefined {
    return this.#lines.get(cacheKey(key))?.latest
  }

  /** Records a saga that this process has written. */
  wrote(snapshot: LoadedSaga): void {
    const line = this.#lines.get(cacheKey(snapshot.row))
    if (line !== undefined && (line.latest === undefined || follows(snapshot, line.latest))) line.latest = snapshot
  }

  /** Opens the line, writes, and then writes the events that have queued meanwhile. */
  async open<T>(key: SagaKey, write: () => Promise<T>): Promise<T> {
    const line: Line = { key, latest: undefined, waiting: [] }
    this.#lines.set(cacheKey(key), line)
    try {
      return await write()
    } finally {
      void this.#drain(line)
    }
  }

  /** Queues an event behind the write that is under way. */
  join(key: SagaKey, event: SagaEvent, sender: EventSender): Promise<Applied | undefined> {
    const line = this.#lines.get(cacheKey(key))
    if (line === undefined) return this.#writer.alone(key, event, sender)
    const inside = AsyncLocalStorage.snapshot()
    return new Promise((resolve, reject) => line.waiting.push({ event, sender, inside, resolve, reject }))
  }

  async #drain(line: Line): Promise<void> {
    while (line.waiting.length > 0) {
      const batch = line.waiting.splice(0, MAX_FOLDED)
      try {
        await this.#write(line, batch)
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#lines.delete(cacheKey(line.key))
  }

  async #write(line: Line, batch: readonly Waiting[]): Promise<void> {
    let known = line.latest
    let left = batch
    while (left.length > 0) {
      const snapshot = known ?? (await this.#runtime.loader.load(line.key))
      const fold = await this.#fold(line, snapshot, left)
      if (fold === undefined || (await this.#commit(line, fold))) return
      left = fold.events.map(({ waiting }) => waiting)
      known = undefined
      line.latest = undefined
    }
  }

  /** @returns `undefined` when no event fits */
  async #fold(line: Line, snapshot: LoadedSaga | undefined, batch: readonly Waiting[]): Promise<Fold | undefined> {
    const events: Array<Fold['events'][number]> = []
    let plan: Plan | undefined
    for (const waiting of batch) {
      const at: LoadedSaga | undefined = plan?.next ?? snapshot
      try {
        const next = at && !isOther(at.row, waiting.sender.birth) ? await this.#plan(at, waiting) : undefined
        if (next === undefined) void this.#alone(line, waiting)
        else {
          plan = plan === undefined ? next : folded(plan, next)
          events.push({ waiting, heard: next.heard !== false })
        }
      } catch (error) {
        waiting.reject(error)
      }
    }
    return plan && { plan, events }
  }

  async #plan(at: LoadedSaga, { event, sender, inside }: Waiting): Promise<Plan | undefined> {
    const planning = inside(() => this.#planner.plan(at, event, sender.epoch))
    const plan = await within(this.#runtime.clock, PLAN_MS, planning, HANGS)
    if (plan !== HANGS) return plan
    planning.then((late) => late && this.#planner.releaseRoom(late)).catch(() => {})
    return undefined
  }

  /** Commits. False: the saga has moved on from the revision of the plan. */
  async #commit(line: Line, { plan, events }: Fold): Promise<boolean> {
    try {
      if (!(await this.#writer.commit(plan))) return false
    } catch (error) {
      await this.#failed(line, events, error)
      return true
    }
    for (const { waiting, heard } of events) waiting.resolve({ snapshot: plan.next, changed: true, heard })
    return true
  }

  /**
   * Handles a failed write: an unwritable event must not fail the others. If the database is unavailable, or may have written
   * them, the senders decide.
   */
  async #failed(line: Line, events: Fold['events'], error: unknown): Promise<void> {
    const fault = writeFault(error)
    if (fault === 'unavailable' || (fault === undefined && writeOutcome(error) === 'unknown')) {
      this.#writer.failed(line.key, error)
      for (const { waiting } of events) waiting.reject(error)
    } else for (const { waiting } of events) await this.#alone(line, waiting)
  }

  /** Never rejects. */
  async #alone({ key }: Line, { event, sender, inside, resolve, reject }: Waiting): Promise<void> {
    await inside(() => this.#writer.alone(key, event, sender)).then(resolve, reject)
  }
}
