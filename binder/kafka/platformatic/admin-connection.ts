import type { Clock } from '../../../core/clock.ts'
import { within } from '../deadline.ts'
import type { Admin, AdminLink } from '../driver.ts'
import { transportError } from '../errors.ts'
import { SharedConnection } from '../shared-connection.ts'
import { AdminCalls } from './admin-calls.ts'
import { toTransportError } from './errors.ts'
import type { Cluster } from './network/cluster.ts'
import { KafkaRefusal } from './protocol/errors.ts'

/** An administrative connection, replaced after a failure. Every call is bounded in time. */
export class AdminConnection implements AdminLink {
  readonly #shared: SharedConnection<Cluster>
  readonly #clock: Clock
  readonly #requestTimeoutMs: number
  #closed = false

  constructor(openCluster: () => Cluster, clock: Clock, requestTimeoutMs: number) {
    this.#shared = new SharedConnection(openCluster, async (cluster) => cluster.close())
    this.#clock = clock
    this.#requestTimeoutMs = requestTimeoutMs
  }

  /** @throws TransportError */
  async use<T>(attempted: string, work: (admin: Admin) => Promise<T>, destination?: string): Promise<T> {
    if (this.#closed) throw transportError('closed', `${attempted} failed`, destination)
    const clock = this.#clock
    const call = (cluster: Cluster): Promise<T> =>
      within(clock, this.#requestTimeoutMs, attempted, work(new AdminCalls(cluster, clock)))
    try {
      return await this.#shared.use(call, (error) => !(error instanceof KafkaRefusal))
    } catch (error) {
      throw toTransportError(error, attempted, destination)
    }
  }

  close(): Promise<void> {
    this.#closed = true
    return this.#shared.close()
  }
}
