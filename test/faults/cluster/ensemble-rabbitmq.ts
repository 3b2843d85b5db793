import { portOf, type RabbitCluster, startRabbitCluster } from '../../support/servers/cluster/index.ts'
import { nodeName } from '../../support/servers/rabbitmq.ts'
import { until } from '../../support/until.ts'
import { Link } from '../harness/link.ts'
import type { Ensemble, Node } from './ensemble.ts'

const WHOLE_WITHIN_MS = 90_000

/** On whose nodes the quorum queues have their leaders. */
const LEADERS = `[N || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue, {_, N} <- [amqqueue:get_pid(Q)]].`
/** All nodes run, and no queue would lose its majority with one more. */
const IS_WHOLE =
  'length(rabbit_nodes:all_running()) =:= 3 andalso rabbit_quorum_queue:list_with_minimum_quorum() =:= [].'

export class RabbitEnsemble implements Ensemble {
  readonly nodes: readonly Node[]
  readonly #cluster: RabbitCluster

  private constructor(cluster: RabbitCluster, nodes: readonly Node[]) {
    this.#cluster = cluster
    this.nodes = nodes
  }

  static async start(signal: AbortSignal): Promise<RabbitEnsemble> {
    const cluster = await startRabbitCluster({ signal })
    const nodes = await Promise.all(
      cluster.servers.map(async (server) => ({ server, link: await Link.to(portOf(server)) })),
    )
    return new RabbitEnsemble(cluster, nodes)
  }

  get address() {
    const nodes = this.nodes.map(({ server, link }) => ({ port: portOf(server), via: link.port }))
    return { broker: { kind: 'rabbitmq', nodes } as const }
  }

  async leader(): Promise<Node> {
    const [any] = this.nodes as readonly [Node, ...Node[]]
    const found = await this.#cluster.evaluate(any.server, LEADERS)
    const counts = this.nodes.map(({ server }) => found.split(nodeName(portOf(server))).length - 1)
    return this.nodes[counts.indexOf(Math.max(...counts))] as Node
  }

  async whole(): Promise<void> {
    const [any] = this.nodes as readonly [Node, ...Node[]]
    const isWhole = (): Promise<boolean> =>
      this.#cluster.evaluate(any.server, IS_WHOLE).then(
        (answer) => answer.trim() === 'true',
        () => false,
      )
    await until('all nodes run and have copies of all queues', isWhole, WHOLE_WITHIN_MS)
  }

  async replace({ server }: Node): Promise<void> {
    await this.#cluster.replace(server)
  }

  /** It no longer knows what the others want to hear, so that it has no connection to them. */
  async cutOff(node: Node): Promise<() => Promise<void>> {
    const others = this.nodes.filter((each) => each !== node).map(({ server }) => `'${nodeName(portOf(server))}'`)
    const list = `[${others.join(', ')}]`
    const { server } = node
    await this.#cluster.evaluate(
      server,
      `persistent_term:put(own_cookie, erlang:get_cookie()), [begin erlang:set_cookie(N, nobody), erlang:disconnect_node(N) end || N <- ${list}].`,
    )
    return async () => {
      const heal = `[begin erlang:set_cookie(N, persistent_term:get(own_cookie)), net_kernel:connect_node(N) end || N <- ${list}].`
      await this.#cluster.evaluate(server, heal)
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ link }) => link.close()))
    await this.#cluster.stop()
  }
}
