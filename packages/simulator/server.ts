import type { EventQueue } from './event-queue.ts'

/** Common part of all servers of the world: a server may be unavailable, and may restart. */
export class Server {
  readonly name: string
  readonly #timeline: EventQueue
  readonly #restarts: Array<(forgets: boolean) => void> = []
  /** Increases with each restart: requests sent in an earlier epoch never arrive, and their responses never return. */
  epoch = 0
  #awayUntilMs = 0

  constructor(name: string, timeline: EventQueue) {
    this.name = name
    this.#timeline = timeline
  }

  get isAway(): boolean {
    return this.#awayUntilMs > this.#timeline.nowMs
  }

  /** Calls the listener when the server becomes unavailable. */
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

/** Keeps the order of messages in one direction. */
export class Lane {
  #lastMs = 0

  /** Not before earlier messages. */
  after(atMs: number): number {
    this.#lastMs = Math.max(this.#lastMs, atMs)
    return this.#lastMs
  }
}
