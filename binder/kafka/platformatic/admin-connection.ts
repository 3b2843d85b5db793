import type { Clock } from '../../../core/clock.ts'
import { within } from '../deadline.ts'
import type { Admin, AdminLink } from '../driver.ts'
import { transportError } from '../errors.ts'
import { AdminCalls } from './admin-calls.ts'
import { toTransportError } from './errors.ts'
import type { Cluster } from './network/cluster.ts'
import { KafkaRefusal } from './protocol/errors.ts'

/** An administrative connection, opened when first needed, discarded after a failure. Every call is bounded in time. */
export class AdminConnection implements AdminLink {
  readonly #openCluster: () => Cluster
  readonly #clock: Clock
  readonly #requestTimeoutMs: number
  #cluster: Cluster | undefined
  #closed = false

  constructor(openCluster: () => Cluster, clock: Clock, requestTimeoutMs: number) {
    this.#openCluster = openCluster
    this.#clock = clock
    this.#requestTimeoutMs = requestTimeoutMs
  }

  /** @throws TransportError */
  async use<T>(attempted: string, work: (admin: Admin) => Promise<T>, destination?: string): Promise<T> {
    if (this.#closed) throw transportError('closed', `${attempted} failed`, destination)
    const clock = this.#clock
    this.#cluster ??= this.#openCluster()
    const cluster = this.#cluster
    try {
      return await within(clock, this.#requestTimeoutMs, attempted, work(new AdminCalls(cluster, clock)))
    } catch (error) {
      if (!(error instanceof KafkaRefusal)) this.#discard(cluster)
      throw toTransportError(error, attempted, destination)
    }
  }

  close(): Promise<void> {
    this.#closed = true
    this.#cluster?.close()
    return Promise.resolve()
  }

  #discard(cluster: Cluster): void {
    cluster.close()
    if (this.#cluster === cluster) this.#cluster = undefined
  }
}
