import type { Clock } from '../../../core/clock.ts'
import { ended } from '../../transport/kit/deadline.ts'
import { within } from '../deadline.ts'
import type { Admin, AdminLink } from '../driver.ts'
import { transportError } from '../errors.ts'
import { SharedConnection } from '../shared-connection.ts'
import type { KafkaAdmin, KafkaClient, KafkaRetry } from './client-types.ts'
import { connectWithin } from './connect-timeout.ts'
import { DriverAdmin } from './driver-admin.ts'
import { toTransportError } from './errors.ts'
import type { KafkaOptions } from './options.ts'
import { atNextSeed } from './patches/next-seed.ts'
import { acceptPartitionsWithoutLeader } from './patches/partitions-without-leader.ts'
import { replacePrivateField } from './patches/replace-private-field.ts'

const CLOSE_MS = 2_000

/** An administrative connection, replaced after a failure. Every call is bounded in time. */
export class AdminConnection implements AdminLink {
  readonly #options: KafkaOptions
  readonly #clock: Clock
  readonly #shared: SharedConnection<Promise<KafkaAdmin>>
  /** Requests that kafkajs is still making, including abandoned ones. */
  readonly #running: Set<Promise<unknown>> = new Set()
  #closed = false

  constructor(options: KafkaOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
    this.#shared = new SharedConnection(
      () => this.#connect(),
      (admin) => ended(clock, CLOSE_MS, this.#disconnect(admin)),
    )
  }

  /** Runs `work` on the connection. @throws TransportError */
  async use<T>(attempted: string, work: (admin: Admin) => Promise<T>, destination?: string): Promise<T> {
    if (this.#closed) throw transportError('closed', `${attempted} failed`, destination)
    const { kafka, requestTimeoutMs } = this.#options
    try {
      return await this.#shared.use(async (connecting) => {
        const admin = new DriverAdmin(kafka, await connecting)
        return within(this.#clock, requestTimeoutMs, attempted, this.#watched(work(admin)))
      })
    } catch (error) {
      throw toTransportError(error, attempted, destination)
    }
  }

  close(): Promise<void> {
    this.#closed = true
    return this.#shared.close()
  }

  #watched<T>(work: Promise<T>): Promise<T> {
    const over = (): void => void this.#running.delete(work)
    this.#running.add(work)
    work.then(over, over)
    return work
  }

  async #connect(): Promise<KafkaAdmin> {
    const admin = makeAdmin(this.#options.kafka, { retries: 3, initialRetryTime: 100, maxRetryTime: 1_000 })
    await connectWithin(this.#clock, this.#options, admin)
    return admin
  }

  /**
   * A running request reconnects when it loses its connection, so the new connection is closed, too, once the request has ended.
   */
  async #disconnect(connecting: Promise<KafkaAdmin>): Promise<void> {
    const admin = await connecting
    const running = [...this.#running]
    await admin.disconnect()
    if (running.length === 0) return
    await Promise.allSettled(running)
    await admin.disconnect()
  }
}

const FEW_TRIES = Object.freeze({ retries: 4, initialRetryTime: 50, maxRetryTime: 200 })
const READ_UNCOMMITTED = 0

/**
 * kafkajs tries to connect as often as the client's options say, and reports the reason only when it gives up, after our
 * deadline, which only knows that time has passed. An untrusted certificate would look like an unavailable broker. So the client
 * tries only a few times, enough for a list of brokers, while it makes this connection, and is called again after that.
 *
 * The end of a partition is then the last record, not the last one before an open transaction, where a group is blocked and would
 * seem to have nothing left. A partition without a leader does not hide other partitions or topics.
 */
function makeAdmin(client: KafkaClient, retry: KafkaRetry): KafkaAdmin {
  const withFewTries = replacePrivateField<object>(client, 'private:Kafka:clusterRetry', (usual) => ({
    ...usual,
    ...FEW_TRIES,
  }))
  const uncommitted = replacePrivateField<(options: object) => object>(
    client,
    'private:Kafka:createCluster',
    (create) => (options) => {
      const cluster = create?.({ ...options, isolationLevel: READ_UNCOMMITTED }) ?? {}
      acceptPartitionsWithoutLeader(cluster)
      return cluster
    },
  )
  try {
    return atNextSeed(client, () => client.admin({ retry }))
  } finally {
    withFewTries()
    uncommitted()
  }
}
