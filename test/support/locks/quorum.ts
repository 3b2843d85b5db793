import type { Locks } from 'concordat/locks'
import { redlockLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { Link } from '../../faults/harness/link.ts'
import type { RedlockLocksOptions } from '../inside/locks.ts'
import { type PrivateServer, type StartOptions, startServer } from '../servers/index.ts'

type ContenderOptions = Omit<RedlockLocksOptions, 'urls' | 'clients'>

/** Private Redis servers, each behind a network that can fail, and their contenders. */
export class Quorum {
  readonly servers: readonly PrivateServer[]
  /** Between the contenders and each server. */
  readonly links: readonly Link[]
  readonly #open: Array<() => unknown> = []
  readonly #paused = new Set<PrivateServer>()

  private constructor(servers: readonly PrivateServer[], links: readonly Link[]) {
    this.servers = servers
    this.links = links
  }

  /** @param options of each server by its number, or of all */
  static async start(size: number, options: StartOptions | ((n: number) => StartOptions) = {}): Promise<Quorum> {
    const servers = await Promise.all(
      Array.from({ length: size }, (_, n) =>
        startServer('redis', typeof options === 'function' ? options(n) : options),
      ),
    )
    return new Quorum(servers, await Promise.all(servers.map(({ url }) => Link.to(Number(new URL(url).port)))))
  }

  /** Through the links. */
  get urls(): readonly string[] {
    return this.links.map(({ port }) => `redis://127.0.0.1:${port}`)
  }

  /** Locks of ours; no grace, as the servers have just been started, unless the test is about it. */
  contender(options: ContenderOptions = {}): Locks {
    const locks = redlockLocks({ urls: this.urls, restartGraceMs: 0, ...options })
    this.#open.push(() => locks.close())
    return locks
  }

  /** Plain clients through the links, with ioredis's own settings, as in the README of redlock. */
  clients(numbers: readonly number[] = [...this.links.keys()]): Redis[] {
    return numbers.map((n) => {
      const client = new Redis(this.urls[n] as string)
      client.on('error', () => {})
      this.#open.push(() => client.disconnect())
      return client
    })
  }

  /** Runs `work` on one server, without its link. */
  async admin<T>(n: number, work: (client: Redis) => Promise<T>): Promise<T> {
    const client = new Redis((this.servers[n] as PrivateServer).url)
    try {
      return await work(client)
    } finally {
      client.disconnect()
    }
  }

  /** The same on all servers. */
  everywhere<T>(work: (client: Redis, n: number) => Promise<T>): Promise<T[]> {
    return Promise.all(this.servers.map((_server, n) => this.admin(n, (client) => work(client, n))))
  }

  link(n: number): Link {
    return this.links[n] as Link
  }

  server(n: number): PrivateServer {
    return this.servers[n] as PrivateServer
  }

  /** SIGSTOP: connections stay open and silent. */
  freeze(...numbers: readonly number[]): void {
    for (const n of numbers) {
      this.#paused.add(this.server(n))
      this.server(n).pause()
    }
  }

  thaw(): void {
    for (const server of this.#paused) server.resume()
    this.#paused.clear()
  }

  /** Resets the servers: all run, are reachable and empty; all contenders are closed. */
  async reset(): Promise<void> {
    this.thaw()
    for (const link of this.links) link.heal()
    await Promise.all(this.servers.map((server) => server.start()))
    await Promise.all(this.#open.splice(0).map((close) => close()))
    await this.everywhere((client) => client.flushall())
  }

  async close(): Promise<void> {
    this.thaw()
    await Promise.all(this.#open.splice(0).map((close) => close()))
    await Promise.all(this.links.map((link) => link.close()))
    await Promise.all(this.servers.map((server) => server.stop()))
  }
}

/** Outcome of a promise, and its time; `pending` when it had none after `limitMs`. */
export async function outcome<T>(
  work: Promise<T>,
  limitMs: number,
): Promise<{ state: 'resolved' | 'rejected' | 'pending'; tookMs: number; value?: T; error?: unknown }> {
  const begun = performance.now()
  const { promise: over, resolve } = Promise.withResolvers<'pending'>()
  const timer = setTimeout(() => resolve('pending'), limitMs)
  try {
    const first = await Promise.race([work.then((value) => ({ value })), over])
    const tookMs = performance.now() - begun
    return first === 'pending' ? { state: first, tookMs } : { state: 'resolved', tookMs, value: first.value }
  } catch (error) {
    return { state: 'rejected', tookMs: performance.now() - begun, error }
  } finally {
    clearTimeout(timer)
  }
}
