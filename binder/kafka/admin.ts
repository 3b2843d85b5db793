import type { Clock } from '../../core/clock.ts'
import type { KafkaAdmin } from './client.ts'
import { connectWithin, settle, within } from './deadline.ts'
import { toTransportError, transportError } from './errors.ts'
import type { KafkaOptions } from './options.ts'

const CLOSE_MS = 2_000

/**
 * One administrative connection, opened when first needed, thrown away after a failure. Every call is bounded in time.
 */
export class AdminConnection {
  readonly #options: KafkaOptions
  readonly #clock: Clock
  #admin: Promise<KafkaAdmin> | undefined
  /** Requests that kafkajs is at, also when nobody waits for them any more. */
  readonly #running: Set<Promise<unknown>> = new Set()
  #closed = false

  constructor(options: KafkaOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
  }

  /** Runs `work` on the connection. @throws TransportError */
  async use<T>(attempted: string, work: (admin: KafkaAdmin) => Promise<T>, destination?: string): Promise<T> {
    if (this.#closed) throw transportError('closed', `${attempted} failed`, destination)
    this.#admin ??= this.#connect()
    const current = this.#admin
    try {
      const admin = await current
      return await within(this.#clock, this.#options.requestTimeoutMs, attempted, this.#watched(work(admin)))
    } catch (error) {
      if (this.#admin === current) this.#admin = undefined
      this.#discard(current)
      throw toTransportError(error, attempted, destination)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    const admin = this.#admin
    this.#admin = undefined
    if (admin !== undefined) await settle(this.#clock, CLOSE_MS, this.#disconnect(admin))
  }

  #watched<T>(work: Promise<T>): Promise<T> {
    const over = (): void => void this.#running.delete(work)
    this.#running.add(work)
    work.then(over, over)
    return work
  }

  async #connect(): Promise<KafkaAdmin> {
    const admin = withFewTries(this.#options.kafka, () =>
      this.#options.kafka.admin({ retry: { retries: 3, initialRetryTime: 100, maxRetryTime: 1_000 } }),
    )
    await connectWithin(this.#clock, this.#options.connectTimeoutMs, admin)
    return admin
  }

  #discard(admin: Promise<KafkaAdmin>): void {
    void settle(this.#clock, CLOSE_MS, this.#disconnect(admin))
  }

  /** A request under way connects again when it loses its connection: what it made is closed as well, once it has ended. */
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

/**
 * kafkajs tries to connect as often as the client says, and keeps the reason until it gives up: after our deadline, which
 * knows no more than that it passed. A certificate that is not trusted would look like a broker that is away. So the client
 * is made to try a few times, enough for a list of brokers, while it makes this connection; we try again after that.
 */
function withFewTries<T>(client: object, make: () => T): T {
  const name = Object.getOwnPropertySymbols(client).find(
    ({ description }) => description === 'private:Kafka:clusterRetry',
  )
  if (name === undefined) return make()
  const retries = client as Record<symbol, unknown>
  const usual = retries[name]
  retries[name] = { ...(usual as object | undefined), ...FEW_TRIES }
  try {
    return make()
  } finally {
    retries[name] = usual
  }
}
