/** What a handler returns whose message is nobody's business: settled, counted and logged as such. */
export class Discarded {
  readonly reason: string

  constructor(reason: string) {
    this.reason = reason
    Object.freeze(this)
  }
}
