import type { Clock } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import { LockStoreUnavailable } from '../errors.ts'
import type { RedisConnectionClient } from './client.ts'
import type { RedisConnection } from './connection.ts'

/**
 * What a Redis that restarted may have forgotten. Without `appendfsync always` the locks granted in the last second (or
 * all, without persistence) are gone after a crash, while their holders go on until their next renewal says so. A server
 * that grants nothing until it has run for the longest ttl can not give such a lock away twice.
 * @see https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/ "delayed restarts"
 */
export class RestartGuard {
  readonly #connection: RedisConnection
  readonly #graceMs: number
  readonly #clock: Clock
  readonly #logger: Logger
  #grantsFrom: Promise<number> = Promise.resolve(0)

  constructor(connection: RedisConnection, graceMs: number, clock: Clock, logger: Logger) {
    this.#connection = connection
    this.#graceMs = requireInteger('redisLocks.restartGraceMs', graceMs, 0)
    this.#clock = clock
    this.#logger = logger
    connection.onReady((client) => {
      // Who needs the answer asks again if there was none.
      this.#ask(client).catch(() => {})
    })
  }

  get enabled(): boolean {
    return this.#graceMs > 0
  }

  /** @throws LockStoreUnavailable while the server is too young; LockStoreRefused when it will not tell how old it is */
  async requireSettled(): Promise<void> {
    const client = await this.#connection.ready()
    const grantsFrom = await this.#grantsFrom.catch(() => this.#ask(client))
    const waitMs = Math.ceil(grantsFrom - this.#clock.monotonic())
    if (waitMs <= 0) return
    const detail = `it restarted and may have forgotten locks; it grants again in ${waitMs} ms`
    throw new LockStoreUnavailable('redis', 'not_done', detail)
  }

  #ask(client: RedisConnectionClient): Promise<number> {
    this.#grantsFrom = client.info().then(
      (info) => this.#read(info),
      (error: unknown) => {
        throw this.#connection.translate(error)
      },
    )
    return this.#grantsFrom
  }

  /** From when on it may grant, on this process's monotonic clock. */
  #read(info: string): number {
    const policy = field(info, 'maxmemory_policy') ?? 'noeviction'
    if (policy !== 'noeviction' && field(info, 'maxmemory') !== '0') {
      this.#logger.warn({ policy }, 'Redis may evict locks and fencing tokens: set maxmemory-policy noeviction')
    }
    // One that does not say is taken to be new.
    const uptimeMs = Number(field(info, 'uptime_in_seconds') ?? 0) * 1_000
    return this.#clock.monotonic() + this.#graceMs - uptimeMs
  }
}

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1]
}
