import type { Clock } from '../../../core/clock.ts'
import { turnsOf } from '../../../core/event-loop-turns.ts'
import type { Line, LineAdmission } from '../line-interface.ts'

export interface BatchFormationLimits {
  /** Maximum number of running batches. */
  readonly concurrency: number
  readonly maxSize: number
  readonly maxWaitMs: number
}

/** Handles a batch; calls `done` with each item as soon as its key is free for later ones. Never rejects. */
export type RunBatch<Item> = (items: readonly Item[], done: (item: Item) => void) => Promise<void>

interface Entry<Item> {
  readonly item: Item
  readonly key: string | null
  /** When it stops waiting for further items, on the monotonic clock. */
  readonly dueAt: number
}

/**
 * Forms batches: full ones at once, others when their oldest item has waited `maxWaitMs`. A key is in one running batch at a
 * time; its later items wait until the earlier ones are done, so order per key holds.
 *
 * Forming a batch reads everything that waits, which prefetch bounds.
 */
export class BatchFormation<Item> implements Line<Item> {
  readonly #limits: BatchFormationLimits
  readonly #clock: Clock
  readonly #keyOf: (item: Item) => string | null
  readonly #run: RunBatch<Item>
  readonly #gate: LineAdmission | undefined
  /** Keys in running batches, with the number of their unfinished items. */
  readonly #busy: Map<string, number> = new Map()
  readonly #idleWaiters: Array<() => void> = []
  #waiting: Array<Entry<Item>> = []
  /** Number of waiting items whose key is free; `undefined` when it has to be counted again. */
  #free: number | undefined = 0
  #running = 0
  #held = false
  #cancelTimer: (() => void) | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #pumpScheduled = false
  /** Continues after a turn of the event loop. */
  #waitsForTurn = false

  constructor(
    limits: BatchFormationLimits,
    keyOf: (item: Item) => string | null,
    run: RunBatch<Item>,
    { clock, gate }: { readonly clock: Clock; readonly gate: LineAdmission | undefined },
  ) {
    this.#limits = limits
    this.#clock = clock
    this.#keyOf = limits.concurrency === 1 ? () => null : keyOf
    this.#run = run
    this.#gate = gate
  }

  get running(): number {
    return this.#running
  }

  get queued(): number {
    return this.#waiting.length
  }

  push(item: Item): void {
    const key = this.#keyOf(item)
    this.#waiting.push({ item, key, dueAt: this.#clock.monotonic() + this.#limits.maxWaitMs })
    if (this.#free !== undefined && !this.#isBusy(key)) this.#free++
    this.#pump()
  }

  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.#pump()
  }

  wake(): void {
    this.#pump()
  }

  remove(match: (item: Item) => boolean): Item[] {
    // Called for all before any is removed: it may read a signal, which may cause others to be removed.
    const matching = new Set(this.#waiting.filter(({ item }) => match(item)))
    const removed = this.#waiting.filter((entry) => matching.has(entry)).map(({ item }) => item)
    this.#waiting = this.#waiting.filter((entry) => !matching.has(entry))
    this.#free = undefined
    return removed
  }

  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  #pump(): void {
    while (!this.#waitsForTurn && !this.#held && this.#running < this.#limits.concurrency) {
      const size = Math.min(this.#countFree(), this.#limits.maxSize)
      if (size === 0) return
      if (size < this.#limits.maxSize && !this.#isDue()) return
      const turns = turnsOf(this.#clock)
      if (turns.isDue()) {
        this.#waitsForTurn = true
        turns.afterTurn(this.#turned)
        return
      }
      const admitted = this.#gate?.admit(size) ?? size
      if (admitted === 0) return
      this.#running++
      void this.#start(this.#take(admitted))
    }
  }

  readonly #turned = (): void => {
    this.#waitsForTurn = false
    this.#pump()
  }

  /** True if the longest waiting item that may start has waited long enough; otherwise schedules another check. */
  #isDue(): boolean {
    const oldest = this.#waiting.find(({ key }) => !this.#isBusy(key))
    if (oldest === undefined) return false
    const leftMs = oldest.dueAt - this.#clock.monotonic()
    if (leftMs <= 0) return true
    if (oldest.dueAt < this.#timerAt) {
      this.#disarm()
      this.#timerAt = oldest.dueAt
      this.#cancelTimer = this.#clock.setTimer(Math.max(1, Math.ceil(leftMs)), () => {
        this.#timerAt = Number.POSITIVE_INFINITY
        this.#pump()
      })
    }
    return false
  }

  #disarm(): void {
    this.#cancelTimer?.()
    this.#timerAt = Number.POSITIVE_INFINITY
  }

  /** Removes the first `size` items that may start, in their order. */
  #take(size: number): Array<Entry<Item>> {
    const taken: Array<Entry<Item>> = []
    const kept: Array<Entry<Item>> = []
    const keys = new Map<string, number>()
    for (const entry of this.#waiting) {
      if (taken.length === size || this.#isBusy(entry.key)) kept.push(entry)
      else {
        taken.push(entry)
        if (entry.key !== null) keys.set(entry.key, (keys.get(entry.key) ?? 0) + 1)
      }
    }
    for (const [key, count] of keys) this.#busy.set(key, count)
    this.#waiting = kept
    this.#free = kept.length === 0 ? 0 : undefined
    this.#disarm()
    return taken
  }

  async #start(batch: ReadonlyArray<Entry<Item>>): Promise<void> {
    const unfinished = new Map(batch.map(({ item, key }) => [item, key]))
    const done = (item: Item): void => {
      const key = unfinished.get(item)
      if (unfinished.delete(item) && key !== null && key !== undefined) this.#release(key)
    }
    await this.#run(
      batch.map(({ item }) => item),
      done,
    )
    for (const item of unfinished.keys()) done(item)
    this.#running--
    this.#pump()
    if (this.#running === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  #release(key: string): void {
    const left = (this.#busy.get(key) ?? 0) - 1
    if (left > 0) {
      this.#busy.set(key, left)
      return
    }
    this.#busy.delete(key)
    this.#free = undefined
    if (this.#pumpScheduled || this.#waiting.length === 0) return
    this.#pumpScheduled = true
    // Once for all that end in one turn.
    queueMicrotask(() => {
      this.#pumpScheduled = false
      this.#pump()
    })
  }

  #isBusy(key: string | null): boolean {
    return key !== null && this.#busy.has(key)
  }

  #countFree(): number {
    this.#free ??= this.#waiting.reduce((count, { key }) => count + Number(!this.#isBusy(key)), 0)
    return this.#free
  }
}
