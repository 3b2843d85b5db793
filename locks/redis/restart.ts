import type { Clock } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { RedisConnectionClient } from '../../core/redis/client.ts'
import { defineScript, type RedisConnection } from '../../core/redis/connection.ts'
import { EvictionWarning } from '../../core/redis/eviction-warning.ts'
import { infoField, minUptimeMs } from '../../core/redis/info.ts'
import { LockError } from '../errors.ts'

/** KEYS any   -> INFO of the server that has the key: of a cluster client nothing else tells which one that is. */
const infoScript = defineScript(`return redis.call('INFO', 'server') .. redis.call('INFO', 'replication')`)

/**
 * What a Redis that restarted or was replaced may have forgotten. Without `appendfsync always` the locks granted in the
 * last second (or all, without persistence) are gone after a crash, those granted last are after a failover, while their
 * holders go on until their next renewal says so. A server that grants nothing until it has run for the longest ttl can
 * not give such a lock away twice.
 *
 * A restart is seen by `run_id` and uptime, a failover by `master_replid`, per server. A process that meets a server for
 * the first time knows of a restart (uptime), not of a failover.
 * @see https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/ "delayed restarts"
 */
export class RestartGuard {
  readonly #connection: RedisConnection
  readonly #graceMs: number
  readonly #clock: Clock
  readonly #eviction: EvictionWarning
  /** From when on each of the histories met so far may grant, on this process's monotonic clock. */
  readonly #grantsFrom = new Map<string, number>()
  /** The servers met at the start have told who they are, or failed to. */
  #met: Promise<void> = Promise.resolve()
  /** The one met last. */
  #latest: Promise<string> | undefined
  #starting = true
  #cluster = false

  constructor(connection: RedisConnection, graceMs: number, clock: Clock, logger: Logger) {
    this.#connection = connection
    this.#graceMs = requireInteger('redisLocks.restartGraceMs', graceMs, 0)
    this.#clock = clock
    this.#eviction = new EvictionWarning({ name: 'locks and fencing tokens', expires: true }, logger)
    const first: Promise<string>[] = []
    connection.onServer((server) => {
      const asking = this.#ask(server)
      if (this.#starting) first.push(asking)
    })
    connection.onReady((client, isFirst) => {
      this.#cluster = client.nodes !== undefined
      if (!isFirst) return
      this.#met = Promise.allSettled(first.splice(0)).then(() => {
        this.#starting = false
      })
    })
  }

  get enabled(): boolean {
    return this.#graceMs > 0
  }

  /**
   * @param lockKey any key of the lock: in a cluster each master has its own past
   * @throws `locks.store_unavailable` while the server is too young; `locks.store_refused` when it will not tell how old it is
   */
  async requireSettled(lockKey: string): Promise<void> {
    const client = await this.#connection.ready()
    const history = this.#cluster ? await this.#historyOf(lockKey) : await this.#latestHistory(client)
    const waitMs = Math.ceil((this.#grantsFrom.get(history) ?? 0) - this.#clock.monotonic())
    if (waitMs <= 0) return
    const detail = `it restarted or was replaced and may have forgotten locks; it grants again in ${waitMs} ms`
    throw new LockError('locks.store_unavailable', { store: 'redis', outcome: 'not_done', detail })
  }

  async #historyOf(lockKey: string): Promise<string> {
    await this.#met
    return this.#read(String(await this.#connection.run(infoScript, [lockKey], [])))
  }

  async #latestHistory(client: RedisConnectionClient): Promise<string> {
    try {
      return await (this.#latest ?? this.#ask(client))
    } catch {
      return this.#ask(client)
    }
  }

  #ask(server: RedisConnectionClient): Promise<string> {
    const asking = this.#connection.info(server).then(
      (info) => {
        this.#eviction.check(info, server)
        return this.#read(info)
      },
      (error: unknown) => {
        this.#eviction.failed(error, server)
        throw error
      },
    )
    // A caller that needs the answer asks again.
    asking.catch(() => {})
    this.#latest = asking
    return asking
  }

  /** Notes since when the server's data has the history that it has. */
  #read(info: string): string {
    const history = `${infoField(info, 'run_id')}/${infoField(info, 'master_replid')}`
    if (!this.#grantsFrom.has(history)) {
      // Met at the start: its uptime tells (one that does not say is taken to be new). Met later: it has just replaced
      // another one, perhaps a replica that ran for long.
      const atStart = this.#starting || this.#grantsFrom.size === 0
      const ageMs = atStart ? minUptimeMs(info) : 0
      this.#grantsFrom.set(history, this.#clock.monotonic() + this.#graceMs - ageMs)
    }
    return history
  }
}
