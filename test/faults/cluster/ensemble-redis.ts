import { portOf, type SentinelRedis, startSentinels, withRedis } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { Link } from '../harness/link.ts'
import type { Ensemble, Node } from './ensemble.ts'

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

  /** Nothing is on disk: who comes back is empty. */
  async replace({ server }: Node): Promise<void> {
    await server.start()
  }

  /** Another master, by order and without a fault. */
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
