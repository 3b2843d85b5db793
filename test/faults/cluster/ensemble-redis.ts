import { portOf, type SentinelRedis, startSentinels, withRedis } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { Link } from '../harness/link.ts'
import type { Random } from '../harness/random.ts'
import type { Ended, Ensemble, Node } from './ensemble.ts'

const WHOLE_WITHIN_MS = 60_000

export class RedisEnsemble implements Ensemble {
  readonly nodes: readonly Node[]
  readonly #group: SentinelRedis

  private constructor(group: SentinelRedis, nodes: readonly Node[]) {
    this.#group = group
    this.nodes = nodes
  }

  static async start(): Promise<RedisEnsemble> {
    const group = await startSentinels()
    const servers = [group.master, ...group.replicas]
    const nodes = await Promise.all(servers.map(async (server) => ({ server, link: await Link.to(portOf(server)) })))
    return new RedisEnsemble(group, nodes)
  }

  get address() {
    const nodes = this.nodes.map(({ server, link }) => ({ port: portOf(server), via: link.port }))
    const { name, sentinels } = this.#group
    return { redis: { name, sentinels: sentinels.map(({ port }) => port), nodes } }
  }

  async leader(): Promise<Node> {
    const master = await this.#group.current()
    return this.nodes.find(({ server }) => server === master) as Node
  }

  async whole(): Promise<void> {
    const isWhole = async (): Promise<boolean> => {
      const { server } = await this.leader()
      const info = await withRedis(server, (client) => client.info('replication'))
      return info.includes('role:master') && info.split('state=online').length - 1 === this.nodes.length - 1
    }
    await until('the master has all replicas', () => isWhole().catch(() => false), WHOLE_WITHIN_MS)
  }

  /** Restarts the node without its data, which is only in memory. */
  async replace({ server }: Node): Promise<void> {
    await server.start()
  }

  /**
   * Makes replicas log in as an unknown user, so that they receive nothing more from the master. Sentinels reach all of them.
   */
  async cutOff(node: Node): Promise<() => Promise<void>> {
    const others = this.nodes.filter((each) => each !== node)
    const loginAs = (user: string): Promise<unknown> =>
      Promise.all(others.map(({ server }) => withRedis(server, (client) => client.config('SET', 'masteruser', user))))
    const password = (text: string): Promise<unknown> =>
      Promise.all(others.map(({ server }) => withRedis(server, (client) => client.config('SET', 'masterauth', text))))
    await loginAs('nobody')
    await password('nothing')
    await withRedis(node.server, (client) => client.call('CLIENT', 'KILL', 'TYPE', 'replica'))
    return async () => {
      await loginAs('')
      await password('')
    }
  }

  async takeRights(random: Random): Promise<Ended> {
    const what = random.pick(['-@scripting', '-@write'])
    const setAll = async (rule: string): Promise<void> => {
      for (const { server } of this.nodes)
        await withRedis(server, (client) => client.call('ACL', 'SETUSER', 'default', rule))
    }
    await setAll(what)
    for (const { server } of this.nodes)
      await withRedis(server, (client) => client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'))
    const taken = `${what} for the user of the clients`
    return { what: taken, seen: () => this.#refused('NOPERM', 'ERR'), end: () => setAll('+@all') }
  }

  /** Limits the memory, where the node keeps everything. */
  async fill({ server }: Node): Promise<Ended> {
    const limit = (bytes: string) => withRedis(server, (client) => client.config('SET', 'maxmemory', bytes))
    await limit('1')
    return { what: 'a limit of its memory', seen: () => this.#refused('OOM'), end: async () => void (await limit('0')) }
  }

  /** Refusals since the last call. Redis answers a forbidden command in a script with `ERR`. */
  async #refused(...codes: readonly string[]): Promise<string | undefined> {
    let count = 0
    for (const { server } of this.nodes) {
      const info = await withRedis(server, (client) => client.info('errorstats'))
      for (const code of codes) count += Number(info.split(`errorstat_${code}:count=`)[1]?.match(/^\d+/)?.[0] ?? 0)
      await withRedis(server, (client) => client.config('RESETSTAT'))
    }
    return count > 0 ? `${count} commands got ${codes.join(' or ')}` : undefined
  }

  /** Moves the master on request, without a fault. */
  async failover(): Promise<void> {
    const { port } = this.#group.sentinels[0] as { readonly port: number }
    const before = await this.#group.current()
    await withRedis({ url: `redis://127.0.0.1:${port}` }, (client) =>
      client.call('SENTINEL', 'FAILOVER', this.#group.name),
    )
    await until('Sentinel names another master', async () => (await this.#group.current()) !== before)
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ link }) => link.close()))
    await this.#group.stop()
  }
}
