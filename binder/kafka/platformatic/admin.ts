import type { Clock } from '../../../core/clock.ts'
import { within } from '../deadline.ts'
import type { Admin, AdminLink } from '../driver.ts'
import { transportError } from '../errors.ts'
import { AdminCalls } from './admin-calls.ts'
import { toTransportError } from './errors.ts'
import type { Cluster } from './network/cluster.ts'
import { KafkaRefusal } from './protocol/errors.ts'

export interface AdminParts {
  readonly openCluster: () => Cluster
  readonly clock: Clock
  readonly requestTimeoutMs: number
}

/** An administrative connection, opened when first needed, discarded after a failure. Every call is bounded in time. */
export class AdminConnection implements AdminLink {
  readonly #parts: AdminParts
  #cluster: Cluster | undefined
  #closed = false

  constructor(parts: AdminParts) {
    this.#parts = parts
  }

  /** @throws TransportError */
  async use<T>(attempted: string, work: (admin: Admin) => Promise<T>, destination?: string): Promise<T> {
    if (this.#closed) throw transportError('closed', `${attempted} failed`, destination)
    const { clock, openCluster, requestTimeoutMs } = this.#parts
    this.#cluster ??= openCluster()
    const cluster = this.#cluster
    try {
      return await within(clock, requestTimeoutMs, attempted, work(new AdminCalls(cluster, clock)))
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
