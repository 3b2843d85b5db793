/** Result of a handler for an irrelevant message: settled, and counted and logged as discarded. */
export class Discarded {
  readonly reason: string

  constructor(reason: string) {
    this.reason = reason
    Object.freeze(this)
  }
}
