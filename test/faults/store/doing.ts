import type { Event } from '../harness/events.ts'

/** What a worker does at the moment, as its events tell. */
export class Doing {
  held: Event | undefined
  waitingSince: number | undefined
  lastGrantAt = 0
  #isLeaving = false
  #stays = false

  /** It stays in its section, and has written there. */
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
    // A write that a server answered late may be told when its section is over.
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
