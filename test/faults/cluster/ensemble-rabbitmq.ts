import { portOf, type RabbitCluster, startRabbitCluster } from '../../support/servers/cluster/index.ts'
import { nodeName } from '../../support/servers/rabbitmq.ts'
import { until } from '../../support/until.ts'
import { Link } from '../harness/link.ts'
import type { Random } from '../harness/random.ts'
import type { Ended, Ensemble, Node } from './ensemble.ts'

const WHOLE_WITHIN_MS = 90_000

/** Nodes on which the quorum queues have their leaders. */
const LEADERS = `[N || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue, {_, N} <- [amqqueue:get_pid(Q)]].`
/**
 * Expression that is true when all nodes run and no queue would lose its majority with one more. The node itself
 * repeats the check: each call from here starts a virtual machine, which takes a second of a core.
 */
const IS_WHOLE = `
  Is = fun() -> length(rabbit_nodes:all_running()) =:= 3 andalso rabbit_quorum_queue:list_with_minimum_quorum() =:= [] end,
  Look = fun Again(Left) -> Is() orelse (Left > 0 andalso begin timer:sleep(250), Again(Left - 1) end) end,
  Look(40).`

const BY = '<<"faults">>'
const ALL = '<<".*">>'
const GRANT = `rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"/">>, ${ALL}, ${ALL}, ${ALL}, ${BY})`
/** Permissions of a user, each with the command that restores it. Open connections keep theirs. */
const RIGHTS = [
  {
    what: 'the rights of the user',
    take: `rabbit_auth_backend_internal:clear_permissions(<<"guest">>, <<"/">>, ${BY})`,
    give: GRANT,
  },
  {
    what: 'the password of the user',
    take: `rabbit_auth_backend_internal:change_password(<<"guest">>, <<"another">>, ${BY})`,
    give: `rabbit_auth_backend_internal:change_password(<<"guest">>, <<"guest">>, ${BY})`,
  },
  {
    what: 'the user',
    take: `rabbit_auth_backend_internal:delete_user(<<"guest">>, ${BY})`,
    give: `rabbit_auth_backend_internal:add_user(<<"guest">>, <<"guest">>, ${BY}), ${GRANT}`,
  },
] as const
const CLOSE = 'rabbit_networking:close_all_user_connections(<<"guest">>, "rights")'

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

  /** Makes a node forget the others' cookie, so that it has no connection to them. */
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

  async takeRights(random: Random): Promise<Ended> {
    const { what, take, give } = random.pick(RIGHTS)
    const [{ server }] = this.nodes as readonly [Node, ...Node[]]
    const lost = (): number => this.nodes.reduce((sum, { link }) => sum + link.lost, 0)
    const before = lost()
    await this.#cluster.evaluate(server, `${take}, ${CLOSE}.`)
    return {
      what,
      seen: async () => (lost() > before ? `${lost() - before} connections were ended or refused` : undefined),
      end: async () => void (await this.#cluster.evaluate(server, `${give}.`)),
    }
  }

  /** Raises the node's free disk limit: the whole cluster accepts no messages then. */
  async fill({ server }: Node): Promise<Ended> {
    const limit = (text: string) =>
      this.#cluster.evaluate(server, `rabbit_disk_monitor:set_disk_free_limit("${text}").`)
    await limit('100000GB')
    const alarms = (): Promise<string> => this.#cluster.evaluate(server, 'rabbit_alarm:get_alarms().')
    const seen = async () => ((await alarms()).includes('disk') ? 'the alarm of its disk was on' : undefined)
    return { what: 'an alarm of its disk', seen, end: async () => void (await limit('50MB')) }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ link }) => link.close()))
    await this.#cluster.stop()
  }
}
