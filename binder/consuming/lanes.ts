import type { EventLoopTurns } from '../../core/event-loop-turns.ts'
import { Queue } from '../../core/queue.ts'
import type { Line, LineAdmission } from './line-interface.ts'

/**
 * Runs work with bounded concurrency and order per key: items with one key run one at a time in the order of `push`; items
 * without a key, and items with different keys, run concurrently. With concurrency 1 everything runs in the order of `push`.
 *
 * A blocked item (a retry waiting for its backoff) keeps its place and its slot, so order survives a retry.
 *
 * Items that never wait for I/O end in the microtask in which they began. Between two of them the event loop gets a turn when
 * they have run for long enough.
 */
export class Lanes<Item> implements Line<Item> {
  readonly #concurrency: number
  readonly #keyOf: (item: Item) => string | null
  readonly #run: (item: Item) => Promise<void> | undefined
  readonly #turns: EventLoopTurns
  readonly #gate: LineAdmission | undefined
  readonly #ready: Queue<Item> = new Queue()
  /** Keys with a running or ready item, and the items that wait behind it. */
  readonly #busy: Map<string, Queue<Item> | undefined> = new Map()
  readonly #idleWaiters: Array<() => void> = []
  #running = 0
  #waiting = 0
  #held = false
  #pumping = false
  /** Continues after a turn of the event loop. */
  #waitsForTurn = false

  /** @param run must neither throw nor reject; returns `undefined` if the work is already done */
  constructor(
    concurrency: number,
    keyOf: (item: Item) => string | null,
    run: (item: Item) => Promise<void> | undefined,
    { turns, gate }: { readonly turns: EventLoopTurns; readonly gate?: LineAdmission | undefined },
  ) {
    this.#turns = turns
    this.#gate = gate
    this.#concurrency = concurrency
    this.#keyOf = concurrency === 1 ? () => null : keyOf
    this.#run = run
  }

  get running(): number {
    return this.#running
  }

  get queued(): number {
    return this.#ready.length + this.#waiting
  }

  push(item: Item): void {
    const key = this.#keyOf(item)
    if (key !== null) {
      if (this.#busy.has(key)) {
        let behind = this.#busy.get(key)
        if (behind === undefined) this.#busy.set(key, (behind = new Queue()))
        behind.push(item)
        this.#waiting++
        return
      }
      this.#busy.set(key, undefined)
    }
    this.#ready.push(item)
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

  /**
   * Reading `delivery.signal` in `match` may withdraw other deliveries, whose listener calls `remove` again. So `match` is called
   * for all items before any is removed.
   */
  remove(match: (item: Item) => boolean): Item[] {
    const queues = [...this.#busy.values()].filter((behind) => behind !== undefined)
    const matching = new Set([...queues, this.#ready].flatMap((queue) => queue.items().filter(match)))
    const removed: Item[] = []
    for (const [key, behind] of this.#busy) {
      if (behind === undefined) continue
      for (const item of behind.drain()) {
        if (matching.has(item)) {
          removed.push(item)
          this.#waiting--
        } else behind.push(item)
      }
      if (behind.length === 0) this.#busy.set(key, undefined)
    }
    for (const item of this.#ready.drain()) {
      if (matching.has(item)) {
        removed.push(item)
        const key = this.#keyOf(item)
        if (key !== null) this.#next(key)
      } else this.#ready.push(item)
    }
    return removed
  }

  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idleWaiters.push(resolve))
  }

  /** Settling an item may start the next one in the same turn: the running loop takes it, however long the line. */
  #pump(): void {
    if (this.#pumping || this.#waitsForTurn) return
    this.#pumping = true
    while (!this.#held && this.#running < this.#concurrency && this.#ready.length > 0) {
      if (this.#turns.isDue()) {
        this.#waitsForTurn = true
        this.#turns.afterTurn(this.#turned)
        break
      }
      if (this.#gate !== undefined && this.#gate.admit(1) === 0) break
      const item = this.#ready.shift()
      if (item === undefined) break
      this.#running++
      const running = this.#begin(item)
      if (running === undefined) this.#ended(item)
      else void running.then(() => this.#endedLate(item))
    }
    this.#pumping = false
    if (this.#running === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  readonly #turned = (): void => {
    this.#waitsForTurn = false
    this.#pump()
  }

  /** A handler that must not throw but does must not block the line. */
  #begin(item: Item): Promise<void> | undefined {
    try {
      return this.#run(item)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #endedLate(item: Item): void {
    this.#ended(item)
    this.#pump()
  }

  #ended(item: Item): void {
    this.#running--
    const key = this.#keyOf(item)
    if (key !== null) this.#next(key)
  }

  #next(key: string): void {
    const behind = this.#busy.get(key)
    const next = behind?.shift()
    if (next === undefined) {
      this.#busy.delete(key)
      return
    }
    this.#waiting--
    this.#ready.push(next)
  }
}
