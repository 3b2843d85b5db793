import type { Surroundings } from './current-process.ts'
import { runIn } from './current-process.ts'
import type { Stream } from './draws.ts'
import type { EventQueue } from './event-queue.ts'

/**
 * A process of the world, from its start to its end.
 *
 *   up -> frozen -> up -> ... -> dead
 *
 * Everything that reaches it passes through `receive`: responses, deliveries, timers. For a frozen process it waits; for a dead
 * one it is dropped, so code that waits for the world waits forever.
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

  /** Runs it in this process once it is no longer frozen, unless the process is dead by then. */
  receive(delayMs: number, run: () => void): () => void {
    return this.receiveAt(this.#timeline.nowMs + delayMs, run)
  }

  /**
   * The same at a moment of the timeline. Converting a moment into a delay and back rounds it, so that one could overtake
   * another.
   */
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

  /** Registers a listener for the end of the process. @returns a function that unregisters it */
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
