import type { Service } from 'concordat/service'

/** Result type of a check for Terminus's `HealthCheckService`. */
export type ConcordatHealthResult = Readonly<
  Record<
    string,
    {
      readonly status: 'up' | 'down'
      /** Same as `service.health().status`: `degraded` when a part that does not decide is down. */
      readonly service: string
      /** The status of each part. Not its error: this is shown to strangers. */
      readonly parts: Readonly<Record<string, string>>
    }
  >
>

/**
 * Checks for `@nestjs/terminus`, which it needs no import of, or for a controller of your own. No I/O.
 *
 *     health.check([() => concordat.ready()])
 */
export class ConcordatHealth {
  readonly #service: Service

  constructor(service: Service) {
    this.#service = service
  }

  /** Up: give it traffic. @param key the name in the answer */
  ready(key = 'concordat'): ConcordatHealthResult {
    return this.#result(key, this.#service.health().ready)
  }

  /** Down: the process can only be replaced. @param key the name in the answer */
  live(key = 'concordat'): ConcordatHealthResult {
    return this.#result(key, this.#service.health().live)
  }

  #result(key: string, isUp: boolean): ConcordatHealthResult {
    const { status, parts } = this.#service.health()
    const statuses = Object.entries(parts).map(([name, part]) => [name, part.status] as const)
    return { [key]: { status: isUp ? 'up' : 'down', service: status, parts: Object.fromEntries(statuses) } }
  }
}
