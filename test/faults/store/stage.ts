import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { PrivateServer, ServerClock } from '../../support/servers/index.ts'
import type { Actor } from '../harness/actor.ts'
import { told } from '../harness/errors.ts'
import { type EventLog, nowMs } from '../harness/events.ts'
import { Link } from '../harness/link.ts'
import type { Random } from '../harness/random.ts'
import { Doing } from './doing.ts'
import { openLocks } from './open.ts'
import type { Order } from './orders.ts'
import { COMES_WITHIN_MS, TTL_MS } from './sizes.ts'

export type Worker = Actor<Order>

/** Stage of an episode: a server, a link for each worker, the workers, and the tools of a fault. */
export class Stage {
  readonly random: Random
  readonly server: PrivateServer
  readonly replica: PrivateServer | undefined
  /** Link from the replica to its master. */
  readonly replication: Link | undefined
  readonly clock: ServerClock | undefined
  readonly log: EventLog
  readonly prefix: string
  readonly key: string
  /** Whether a holder stays on request, or always. */
  readonly #holders: 'on request' | 'always'
  readonly #address: (port: number) => string
  readonly #links = new Map<Worker, Link>()
  readonly #doing = new Map<Worker, Doing>()
  readonly #unwatch: Array<() => void> = []

  constructor(fields: {
    random: Random
    server: PrivateServer
    replica: PrivateServer | undefined
    replication: Link | undefined
    clock: ServerClock | undefined
    log: EventLog
    prefix: string
    key: string
    holders: 'on request' | 'always'
    address: (port: number) => string
  }) {
    this.random = fields.random
    this.server = fields.server
    this.replica = fields.replica
    this.replication = fields.replication
    this.clock = fields.clock
    this.log = fields.log
    this.prefix = fields.prefix
    this.key = fields.key
    this.#holders = fields.holders
    this.#address = fields.address
  }

  /** @returns the address under which the worker is to reach the server */
  async connect(worker: Worker): Promise<string> {
    const link = await Link.to(portOf(this.server))
    this.#links.set(worker, link)
    const doing = new Doing()
    this.#doing.set(worker, doing)
    this.#unwatch.push(worker.watch((event) => doing.heard(event)))
    return this.#address(link.port)
  }

  get workers(): Worker[] {
    return [...this.#links.keys()]
  }

  get links(): Link[] {
    return [...this.#links.values()]
  }

  /** Connections and bytes that met a fault so far. */
  get bitten(): number {
    return this.links.reduce((sum, { bitten, lost }) => sum + bitten + lost, 0)
  }

  link(worker: Worker): Link {
    return this.#links.get(worker) as Link
  }

  others(worker: Worker): Worker[] {
    return this.workers.filter((each) => each !== worker && each.isAlive)
  }

  isWaiting(worker: Worker, forMs = 100): boolean {
    const since = this.#doing.get(worker)?.waitingSince
    return since !== undefined && nowMs() - since >= forMs
  }

  isHolding(worker: Worker): boolean {
    return this.#doing.get(worker)?.held !== undefined
  }

  hasGrantSince(worker: Worker, since: number): boolean {
    return this.#lastGrantAt(worker) > since
  }

  #lastGrantAt(worker: Worker): number {
    return this.#doing.get(worker)?.lastGrantAt ?? 0
  }

  all(order: Order): void {
    for (const worker of this.workers) worker.order(order)
  }

  note(op: string, text: string): number {
    this.log.note(op, { text })
    return nowMs()
  }

  /**
   * Finds a worker that stays in its section until the next order and writes all the time: a random one that gets the
   * order, or the leader.
   */
  async lingerer(): Promise<Worker> {
    if (this.#holders === 'always') {
      // A worker cut off by a fault may not know yet that its term is over.
      const leader = (): Worker | undefined =>
        this.workers
          .filter((each) => each.isAlive && this.#doing.get(each)?.lingers)
          .toSorted((a, b) => this.#lastGrantAt(b) - this.#lastGrantAt(a))[0]
      await this.until('somebody leads and has written', () => leader() !== undefined)
      return leader() as Worker
    }
    const chosen = this.random.pick(this.workers.filter(({ isAlive }) => isAlive))
    const lingering = chosen.next('stays in a section', ({ op }) => op === 'lingers')
    chosen.order({ do: 'linger' })
    await lingering
    return chosen
  }

  /** The leader resigns, again if it is alone in the line; resolves when another has written. */
  async handOver(): Promise<void> {
    const first = await this.lingerer()
    for (let leader = first; leader === first; leader = await this.lingerer()) {
      const next = this.successor(this.workers.filter(({ isAlive }) => isAlive))
      leader.order({ do: 'leave' })
      await next
    }
  }

  /** Finds the first of these workers to stay in a section; all of them would, until the next order. */
  async successor(among: readonly Worker[], timeoutMs = COMES_WITHIN_MS): Promise<Worker> {
    const over = among.map(async (worker) => {
      await worker.next('takes over', ({ op }) => op === 'lingers', timeoutMs)
      return worker
    })
    for (const worker of among) worker.order({ do: 'linger' })
    return Promise.any(over).catch((error: unknown) => {
      const names = among.map(({ name, isAlive }) => (isAlive ? name : `${name} (dead)`)).join(', ')
      throw new Error(`nobody of ${names} took over: ${told(error)}`, { cause: error })
    })
  }

  /** Resolves when `count` workers wait, and have waited long enough to be in the queue. */
  async untilWaiting(count: number, among: readonly Worker[] = this.workers): Promise<Worker[]> {
    const waiting = (): Worker[] => among.filter((worker) => worker.isAlive && this.isWaiting(worker))
    await this.until(`${count} wait`, () => waiting().length >= count)
    return waiting()
  }

  /** Stops all holders and waiters, until `go`. */
  async quiet(): Promise<void> {
    this.all({ do: 'hold off' })
    const busy = ({ held, waitingSince }: Doing): boolean => held !== undefined || waitingSince !== undefined
    await this.until('all are quiet', () => ![...this.#doing.values()].some(busy))
    // The last release has been reported, but not yet replicated.
    await pause(50)
  }

  /** Resolves when each of them, if alive, was granted the lock after `sinceMs`; false when that takes too long. */
  async allGranted(sinceMs: number, withinMs: number): Promise<boolean> {
    const everybody = (): boolean =>
      this.workers.every((worker) => !worker.isAlive || this.hasGrantSince(worker, sinceMs))
    return this.until('all were granted', everybody, withinMs).then(
      () => true,
      () => false,
    )
  }

  async until(what: string, condition: () => boolean, timeoutMs = COMES_WITHIN_MS): Promise<void> {
    const deadline = nowMs() + timeoutMs
    while (!condition()) {
      if (nowMs() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
      await pause(5)
    }
  }

  pause(ms: number): Promise<void> {
    return pause(ms)
  }

  /** A time in the range, in parts of a ttl. */
  ttls(least: number, most: number): number {
    return Math.round(this.random.between(least * TTL_MS, most * TTL_MS))
  }

  /** Straight to a Redis, past the links. */
  async admin<T>(work: (client: Redis) => Promise<T>, server: PrivateServer = this.server): Promise<T> {
    const client = new Redis(server.url, { retryStrategy: () => null, maxRetriesPerRequest: 0 })
    client.on('error', () => {})
    try {
      return await work(client)
    } finally {
      client.disconnect()
    }
  }

  /** Straight to a PostgreSQL, past the links. */
  async postgres<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client({ connectionString: this.#address(portOf(this.server)) })
    client.on('error', () => {})
    try {
      await client.connect()
      return await work(client)
    } finally {
      await client.end().catch(() => {})
    }
  }

  sql(text: string): Promise<unknown> {
    return this.postgres((client) => client.query(text))
  }

  /** Takes the lock once more at the end, as part of the history, and gives it back. */
  async lastAcquire(server: PrivateServer, waitMs: number): Promise<void> {
    const locks = openLocks(this.#address(portOf(server)), { prefix: this.prefix, heartbeatMs: 100 })
    const end = this.log.invoke('acquire', { key: this.key, grant: 'harness/1', mode: 'exclusive' })
    try {
      const lease = await locks.acquire(this.key, { ttlMs: TTL_MS, waitMs })
      end('ok', { token: lease.token, until: nowMs() + lease.remainingMs() })
      const release = this.log.invoke('release', { key: this.key, grant: 'harness/1', token: lease.token })
      release('ok', { outcome: await lease.release() })
    } catch (error) {
      end('fail', { error: String(error) })
    } finally {
      await locks.close()
    }
  }

  async close(): Promise<void> {
    for (const unwatch of this.#unwatch) unwatch()
    await Promise.all(
      [...this.links, ...(this.replication === undefined ? [] : [this.replication])].map((l) => l.close()),
    )
  }
}

export function portOf(server: PrivateServer): number {
  return Number(new URL(server.url).port)
}
