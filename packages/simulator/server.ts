import type { EventQueue } from './event-queue.ts'

/** A server of the world, as far as all kinds have in common: it may be away, and it may start again. */
export class Server {
  readonly name: string
  readonly #timeline: EventQueue
  readonly #restarts: Array<(forgets: boolean) => void> = []
  /** Rises with each restart: what was sent in an earlier one never arrives, and what it answered never comes back. */
  epoch = 0
  #awayUntilMs = 0

  constructor(name: string, timeline: EventQueue) {
    this.name = name
    this.#timeline = timeline
  }

  get isAway(): boolean {
    return this.#awayUntilMs > this.#timeline.nowMs
  }

  /** Told when it goes away. */
  onRestart(listener: (forgets: boolean) => void): void {
    this.#restarts.push(listener)
  }

  restart(awayMs: number, forgets: boolean): void {
    this.epoch++
    this.#awayUntilMs = this.#timeline.nowMs + awayMs
    for (const listener of this.#restarts) listener(forgets)
  }

  recover(): void {
    this.#awayUntilMs = 0
  }
}

/** Keeps the order of what goes one way. */
export class Lane {
  #lastMs = 0

  /** Not before what went in before. */
  after(atMs: number): number {
    this.#lastMs = Math.max(this.#lastMs, atMs)
    return this.#lastMs
  }
}
