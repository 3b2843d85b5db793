import { randomBytes } from 'node:crypto'
import { runCommandOutput } from '../command.ts'
import { freePorts, type PrivateServer } from '../private-server.ts'
import { ERL_ARGS, nodeName, rabbitmq, toolPath } from '../rabbitmq.ts'
import { orStop, type ServerGroup, startTogether, stopAll } from './group.ts'

/** Three nodes: a quorum queue has a copy on each, and a message is confirmed when two have it. A node that was without the others is restarted. */
export interface RabbitCluster extends ServerGroup {
  /** One of each node. */
  readonly urls: readonly string[]
  /** Evaluates Erlang at a node. @returns its output */
  evaluate(server: PrivateServer, code: string): Promise<string>
  /** Removes a killed node from the cluster and adds an empty one in its place, with copies of all quorum queues. */
  replace(server: PrivateServer): Promise<void>
}

const COUNT = 3
/** A node that is silent for so long is down; it is looked at four times as often. */
const SILENT_S = 4

export async function startRabbitCluster({ signal }: { readonly signal?: AbortSignal } = {}): Promise<RabbitCluster> {
  const sites = await Promise.all(Array.from({ length: COUNT }, () => freePorts()))
  const cookie = randomBytes(12).toString('hex')
  const names = sites.map(({ port }) => nodeName(port))
  const start = (n: number) => ({
    recipe: rabbitmq,
    options: { signal, ports: sites[n], settings: settings(names), env: environment(cookie) },
  })
  // The first one is the cluster; the others join it.
  const servers = [...(await startTogether([start(0)]))]
  return orStop(servers, async () => {
    servers.push(...(await startTogether(Array.from({ length: COUNT - 1 }, (_, n) => start(n + 1)))))
    const stop = (): Promise<void> => stopAll(servers)
    const tool = (program: string, node: PrivateServer, ...args: string[]): Promise<string> =>
      runCommandOutput({ file: toolPath(program), args: ['--erlang-cookie', cookie, '-n', nameOf(node), ...args] }, '/')
    return {
      servers,
      urls: servers.map(({ url }) => url),
      stop,
      [Symbol.asyncDispose]: stop,
      evaluate: (server, code) => tool('rabbitmqctl', server, '-q', 'eval', code),
      replace: async (server) => {
        const other = servers.find((each) => each !== server) as PrivateServer
        await tool('rabbitmqctl', other, 'forget_cluster_node', nameOf(server))
        await server.renew()
        await server.start()
        await tool('rabbitmq-queues', other, 'grow', nameOf(server), 'all')
      },
    }
  })
}

const settings = (names: readonly string[]): Readonly<Record<string, string>> => ({
  'cluster_formation.peer_discovery_backend': 'classic_config',
  ...Object.fromEntries(names.map((name, n) => [`cluster_formation.classic_config.nodes.${n + 1}`, name])),
  'cluster_formation.node_type': 'disc',
  // A node that stood still is out of step with the others and stays so (pause_minority); this restarts it.
  cluster_partition_handling: 'autoheal',
})

const environment = (cookie: string): Readonly<Record<string, string>> => ({
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: [
    ERL_ARGS,
    '+S 2:2',
    `-setcookie ${cookie}`,
    `-kernel net_ticktime ${SILENT_S}`,
  ].join(' '),
})

const nameOf = (server: PrivateServer): string => nodeName(Number(new URL(server.url).port))
