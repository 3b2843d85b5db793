import type { Service } from 'concordat/service'

/** Result type of a check for Terminus's `HealthCheckService`. */
export type ConcordatHealthResult = Readonly<
  Record<
    string,
    {
      readonly status: 'up' | 'down'
      /** Same as `service.health().status`: `degraded` if a non-essential part is down. */
      readonly service: string
      /** The status of each part, without its error, because the result is public. */
      readonly parts: Readonly<Record<string, string>>
    }
  >
>

/**
 * Health checks for `@nestjs/terminus`, which is not imported, or for your own controller. No I/O.
 *
 *     health.check([() => concordat.ready()])
 */
export class ConcordatHealth {
  readonly #service: Service

  constructor(service: Service) {
    this.#service = service
  }

  /** Up: it can receive traffic. @param key its name in the response */
  ready(key = 'concordat'): ConcordatHealthResult {
    return this.#result(key, this.#service.health().ready)
  }

  /** Down: the process must be replaced. @param key its name in the response */
  live(key = 'concordat'): ConcordatHealthResult {
    return this.#result(key, this.#service.health().live)
  }

  #result(key: string, isUp: boolean): ConcordatHealthResult {
    const { status, parts } = this.#service.health()
    const statuses = Object.entries(parts).map(([name, part]) => [name, part.status] as const)
    return { [key]: { status: isUp ? 'up' : 'down', service: status, parts: Object.fromEntries(statuses) } }
  }
}
