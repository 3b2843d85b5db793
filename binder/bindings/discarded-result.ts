/** Result of a handler for an irrelevant message, which is settled, counted and logged as discarded. */
export class Discarded {
  readonly reason: string

  constructor(reason: string) {
    this.reason = reason
    Object.freeze(this)
  }
}
