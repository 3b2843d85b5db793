import type { Event } from '../harness/events.ts'

/** Current activity of a worker, by its events. */
export class Doing {
  held: Event | undefined
  waitingSince: number | undefined
  lastGrantAt = 0
  #isLeaving = false
  #stays = false

  /** Whether the worker stays in its section, and has written there. */
  get lingers(): boolean {
    return this.#stays
  }

  heard(event: Event): void {
    if (event.op === 'acquire') this.#asked(event)
    else if (event.op === 'release') {
      this.#stays = false
      this.#isLeaving = true
      if (event.type !== 'invoke') this.held = undefined
    }
    // The report of a late write may arrive after its section is over.
    else if (event.op === 'lingers') this.#stays = !this.#isLeaving && this.held?.token === event.token
  }

  #asked(event: Event): void {
    this.waitingSince = event.type === 'invoke' ? event.at : undefined
    if (event.type !== 'ok') return
    this.held = event
    this.lastGrantAt = event.at
    this.#isLeaving = false
  }
}
