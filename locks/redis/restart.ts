import type { Clock } from '../../core/clock.ts'
import { requireInteger } from '../../core/errors.ts'
import type { Logger } from '../../core/logger.ts'
import type { RedisConnectionClient } from '../../core/redis/client.ts'
import { defineScript, type RedisConnection } from '../../core/redis/connection.ts'
import { EvictionWarning } from '../../core/redis/eviction-warning.ts'
import { infoField, minUptimeMs } from '../../core/redis/info.ts'
import { LockError } from '../errors.ts'

/** KEYS any   -> INFO of the server that has the key; a cluster client offers no other way to find that server. */
const infoScript = defineScript(`return redis.call('INFO', 'server') .. redis.call('INFO', 'replication')`)

/**
 * Protects against locks that a restarted or replaced Redis may have forgotten. Without `appendfsync always`, a crash loses the
 * locks granted in the last second (or all, without persistence), and a failover loses those granted last, while their holders
 * continue until their next renewal fails. A server that grants nothing until it has run for the longest ttl cannot grant such
 * a lock twice.
 *
 * A restart shows in `run_id` and uptime, a failover in `master_replid`, per server. A process that meets a server for the
 * first time can detect a restart (uptime), but not a failover.
 * @see https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/ "delayed restarts"
 */
export class RestartGuard {
  readonly #connection: RedisConnection
  readonly #graceMs: number
  readonly #clock: Clock
  readonly #eviction: EvictionWarning
  /** For each history met so far, the time from which it may grant, on this process's monotonic clock. */
  readonly #grantsFrom = new Map<string, number>()
  /** The servers met at the start have answered or failed to answer. */
  #met: Promise<void> = Promise.resolve()
  /** The last history met. */
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
   * @param lockKey any key of the lock: in a cluster each master has its own history
   * @throws `locks.store_unavailable` while the server is too young; `locks.store_refused` when it does not reveal its age
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

  /** Records since when the server has had its present history. */
  #read(info: string): string {
    const history = `${infoField(info, 'run_id')}/${infoField(info, 'master_replid')}`
    if (!this.#grantsFrom.has(history)) {
      // For a server met at the start, its uptime decides (without an uptime it counts as new). A server met later has just
      // replaced another one and may be a replica that ran for long.
      const atStart = this.#starting || this.#grantsFrom.size === 0
      const ageMs = atStart ? minUptimeMs(info) : 0
      this.#grantsFrom.set(history, this.#clock.monotonic() + this.#graceMs - ageMs)
    }
    return history
  }
}
