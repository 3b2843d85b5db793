import { hasCode, type SqlClient, systemClock } from 'concordat/core'
import { createElection, type Term } from 'concordat/election'
import { createFence, type Lease, type Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { describe } from '../harness/errors.ts'
import type { EventLog } from '../harness/events.ts'
import type { Random } from '../harness/random.ts'
import type { Post } from './place.ts'
import { LATE_MS, TTL_MS } from './settings.ts'

/**
 * Contender for a lock and a role, under Sentinel, that writes behind a fence whether or not it believes in its lease.
 */
export class Contender {
  readonly #name: string
  readonly #log: EventLog
  readonly #sql: SqlClient
  readonly #random: Random
  readonly #locks: Locks
  readonly #fence: ReturnType<typeof createFence>
  readonly #isFenced: boolean
  #writes = 0

  constructor({ place, name, broken }: Post, log: EventLog, sql: SqlClient, random: Random) {
    this.#isFenced = broken !== 'no-fence'
    if (place.redis === undefined) throw new Error('no Redis')
    const { sentinels, nodes } = place.redis
    const client = new Redis({
      sentinels: sentinels.map((port) => ({ host: '127.0.0.1', port })),
      name: place.redis.name,
      natMap: Object.fromEntries(nodes.map(({ port, via }) => [`127.0.0.1:${port}`, { host: '127.0.0.1', port: via }])),
      failoverDetector: true,
      lazyConnect: true,
    })
    client.on('error', () => {})
    this.#name = name
    this.#log = log
    this.#sql = sql
    this.#random = random
    this.#locks = redisLocks({ client, owner: name, answerMs: 1_000, outageMs: 20_000 })
    this.#fence = createFence({ sql })
  }

  /** Campaigns for as long as `going` is true. */
  async contend(prefix: string, going: () => boolean): Promise<void> {
    const election = createElection({
      locks: this.#locks,
      role: `${prefix}-role`,
      instance: this.#name,
      ttlMs: TTL_MS,
      retryMs: 100,
      onGranted: (term) => this.#lead(`${prefix}-role`, term, going),
    })
    election.start()
    while (going()) await this.#turn(`${prefix}-lock`)
    await election.close()
  }

  async #turn(key: string): Promise<void> {
    let lease: Lease
    try {
      lease = await this.#locks.acquire(key, { ttlMs: TTL_MS, waitMs: 5_000 })
    } catch (error) {
      this.#log.note('not granted', { error: describe(error) })
      await systemClock.sleep(100)
      return
    }
    this.#log.note('granted', { key, token: lease.token })
    for (let n = 0; n < 3; n++) {
      await systemClock.sleep(this.#random.between(5, 60))
      if (!(await this.#write(key, lease.token))) break
    }
    await lease.release().catch((error: unknown) => this.#log.note('not released', { error: describe(error) }))
  }

  async #lead(role: string, term: Term, going: () => boolean): Promise<void> {
    this.#log.note('leads', { key: role, token: term.term })
    // Acts as code that does not check its lease: it continues for a while after its term has ended, and only the fence
    // stops it.
    let lateUntil = Number.POSITIVE_INFINITY
    while (going() && systemClock.monotonic() < lateUntil) {
      await systemClock.sleep(this.#random.between(20, 80))
      if (term.signal.aborted) lateUntil = Math.min(lateUntil, systemClock.monotonic() + LATE_MS)
      if (!(await this.#write(role, term.term))) return
    }
  }

  /**
   * @returns false if continuing is pointless
   */
  async #write(resource: string, token: number): Promise<boolean> {
    const write = `${this.#name}/${++this.#writes}`
    const end = this.#log.invoke('write', { key: resource, token, write })
    try {
      await this.#sql.transaction(async (tx) => {
        if (this.#isFenced) await this.#fence.check(tx, resource, token)
        await tx.query('INSERT INTO fenced (resource, token, worker, write) VALUES ($1, $2, $3, $4)', [
          resource,
          String(token),
          this.#name,
          write,
        ])
      })
      end('ok')
      return true
    } catch (error) {
      const isRefused = hasCode(error, 'locks.fence_rejected')
      end(isRefused ? 'fail' : 'info', { error: describe(error) })
      return !isRefused
    }
  }
}
