import type { Surroundings } from './current-process.ts'
import { runIn } from './current-process.ts'
import type { Stream } from './draws.ts'
import type { EventQueue } from './event-queue.ts'

/**
 * A process of the world, from its start to its end.
 *
 *   up -> frozen -> up -> ... -> dead
 *
 * Whatever reaches it comes through `receive`: answers, deliveries, timers. What reaches a frozen one waits; what reaches a
 * dead one is nothing, so code that waits for the world waits forever.
 */
export class SimulatedProcess implements Surroundings {
  readonly name: string
  readonly service: string
  readonly generation: number
  readonly #timeline: EventQueue
  readonly #onTimer: (instance: SimulatedProcess) => void
  readonly #onOutside: (instance: SimulatedProcess, kind: string) => void
  readonly stream: Stream
  readonly #ends = new Set<() => void>()
  readonly #held: Array<() => void> = []
  #isAlive = true
  #frozenUntilMs = 0

  constructor(identity: Identity, world: InstanceWorld) {
    this.name = identity.name
    this.service = identity.service
    this.generation = identity.generation
    this.#timeline = world.timeline
    this.stream = world.stream
    this.#onTimer = (instance) => world.onTimer(instance)
    this.#onOutside = (instance, kind) => world.onOutside(instance, kind)
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get isFrozen(): boolean {
    return this.#isAlive && this.#frozenUntilMs > this.#timeline.nowMs
  }

  elapsedMs(): number {
    return this.#timeline.nowMs
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    let isCancelled = false
    const leave = this.receive(delayMs, () => {
      if (isCancelled) return
      this.#onTimer(this)
      if (this.#isAlive) callback()
    })
    return () => {
      isCancelled = true
      leave()
    }
  }

  onOutside(kind: string): void {
    this.#onOutside(this, kind)
  }

  /** Runs it in this process, unless that is dead by then; once it is no longer frozen. */
  receive(delayMs: number, run: () => void): () => void {
    return this.receiveAt(this.#timeline.nowMs + delayMs, run)
  }

  /** The same at a moment of the timeline. A moment that is made into a delay and back is rounded, so that one may overtake another. */
  receiveAt(atMs: number, run: () => void): () => void {
    if (!this.#isAlive) return () => {}
    const arrive = (): void => {
      if (!this.#isAlive) return
      if (this.isFrozen) this.#held.push(arrive)
      else runIn(this, run)
    }
    return this.#timeline.at(atMs, arrive)
  }

  freeze(forMs: number): void {
    this.#frozenUntilMs = Math.max(this.#frozenUntilMs, this.#timeline.nowMs + forMs)
    this.#timeline.at(this.#frozenUntilMs, () => {
      if (!this.isFrozen) this.thaw()
    })
  }

  /** Delivers everything that reached it while frozen, in order. */
  thaw(): void {
    this.#frozenUntilMs = 0
    for (const arrive of this.#held.splice(0)) this.#timeline.after(0, arrive)
  }

  /** Registers a listener for the end of the process. @returns unregisters it */
  onEnd(listener: () => void): () => void {
    this.#ends.add(listener)
    return () => this.#ends.delete(listener)
  }

  kill(): void {
    if (!this.#isAlive) return
    this.#isAlive = false
    const listeners = [...this.#ends]
    this.#ends.clear()
    for (const listener of listeners) listener()
  }
}

interface Identity {
  readonly name: string
  readonly service: string
  readonly generation: number
}

interface InstanceWorld {
  readonly timeline: EventQueue
  readonly stream: Stream
  onTimer(instance: SimulatedProcess): void
  onOutside(instance: SimulatedProcess, kind: string): void
}
