/** Several private Redis servers that belong together: a master with replicas, the same under Sentinel, a cluster. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { until } from '../until.ts'
import { type PrivateServer, type StartOptions, startPrivateServer } from './private-server.ts'
import type { Recipe } from './recipe.ts'
import { redis } from './redis.ts'
import { startServer } from './start.ts'

/** Ends all of its servers when it is disposed. */
export interface RedisGroup extends AsyncDisposable {
  readonly servers: readonly PrivateServer[]
  stop(): Promise<void>
}

export interface ReplicatedRedis extends RedisGroup {
  readonly master: PrivateServer
  readonly replicas: readonly PrivateServer[]
}

export interface SentinelRedis extends ReplicatedRedis {
  /** For `new Redis({ sentinels, name })`. */
  readonly name: string
  readonly sentinels: ReadonlyArray<{ readonly host: string; readonly port: number }>
  /** The server that Sentinel names as the master now. */
  current(): Promise<PrivateServer>
}

export interface ClusterRedis extends RedisGroup {
  /** For `new Cluster(nodes)`. */
  readonly nodes: ReadonlyArray<{ readonly host: string; readonly port: number }>
  readonly masters: readonly PrivateServer[]
  readonly replicas: readonly PrivateServer[]
  /** The server that serves the slot of this key now. */
  ownerOf(key: string): Promise<PrivateServer>
}

export const portOf = (server: PrivateServer): number => Number(new URL(server.url).port)

/** One administrative conversation with a server. */
export async function withRedis<T>(server: { readonly url: string }, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(server.url, { retryStrategy: () => null, connectTimeout: 2_000, socketTimeout: 5_000 })
  client.on('error', () => {})
  try {
    return await work(client)
  } finally {
    client.disconnect()
  }
}

/**
 * A master and its replicas, all in sync.
 * @param via the port that replicas reach the master under, if it is not its own (a proxy)
 */
export async function startReplicated(options: {
  readonly replicas: number
  readonly start?: StartOptions | undefined
  readonly via?: ((masterPort: number) => Promise<number>) | undefined
}): Promise<ReplicatedRedis> {
  const settings = { 'repl-diskless-sync-delay': '0', 'repl-timeout': '60', ...options.start?.settings }
  const start = { ...options.start, settings }
  const servers = await startAll(options.replicas + 1, () => startServer('redis', start))
  const [master, ...replicas] = servers as [PrivateServer, ...PrivateServer[]]
  const group = { ...groupOf(servers), master, replicas }
  return orStop(group, async () => {
    const port = (await options.via?.(portOf(master))) ?? portOf(master)
    for (const replica of replicas) await withRedis(replica, (client) => client.replicaof('127.0.0.1', port))
    await until('all replicas are in sync', async () => {
      const info = await withRedis(master, (client) => client.info('replication'))
      return info.split('state=online').length - 1 === replicas.length
    })
    // A replica that is online gets its first writes with its first acknowledgement, up to a second later.
    await until('all replicas acknowledge', () =>
      withRedis(master, async (client) => {
        await client.set('in-sync', 1, 'PX', 1)
        return (await client.wait(replicas.length, 2_000)) === replicas.length
      }),
    )
    return group
  })
}

/** Two replicas and three sentinels, which take half a second to call a silent master down. */
export async function startSentinels(): Promise<SentinelRedis> {
  const replicated = await startReplicated({ replicas: 2 })
  const name = 'main'
  const sentinels: PrivateServer[] = []
  const group = { ...replicated, stop: () => stopAll([...sentinels, ...replicated.servers]) }
  return orStop(group, async () => {
    const recipe = sentinelRecipe(name, portOf(replicated.master))
    sentinels.push(...(await startAll(3, () => startPrivateServer(recipe))))
    for (const sentinel of sentinels) {
      await until('each sentinel knows the others and the replicas', async () => {
        const [state] = (await withRedis(sentinel, (client) => client.call('SENTINEL', 'MASTERS'))) as [string[]]
        return valueOf(state, 'num-slaves') === '2' && valueOf(state, 'num-other-sentinels') === '2'
      })
    }
    return {
      ...group,
      [Symbol.asyncDispose]: group.stop,
      name,
      sentinels: sentinels.map((sentinel) => ({ host: '127.0.0.1', port: portOf(sentinel) })),
      current: async () => {
        const [, port] = (await withRedis(sentinels[0] as PrivateServer, (client) =>
          client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name),
        )) as [string, string]
        return replicated.servers.find((server) => portOf(server) === Number(port)) as PrivateServer
      },
    }
  })
}

const SLOTS = 16_384

/** A cluster whose masters have equal shares of the slots; with `replicas: 1` each master has a replica. */
export async function startCluster(
  options: { readonly replicas?: 0 | 1; readonly start?: StartOptions } = {},
): Promise<ClusterRedis> {
  const settings = {
    'cluster-enabled': 'yes',
    // Short where a replica is to take over; else a busy machine would have the nodes take each other for dead.
    'cluster-node-timeout': (options.replicas ?? 0) > 0 ? '1000' : '15000',
    'cluster-require-full-coverage': 'no',
    'repl-diskless-sync-delay': '0',
    ...options.start?.settings,
  }
  const count = 3 + 3 * (options.replicas ?? 0)
  const servers = await startAll(count, () => startServer('redis', { ...options.start, settings }))
  const [masters, replicas] = [servers.slice(0, 3), servers.slice(3)]
  const nodes = servers.map((server) => ({ host: '127.0.0.1', port: portOf(server) }))
  const group = { ...groupOf(servers), masters, replicas, nodes, ownerOf: (key: string) => ownerOf(servers, key) }
  return orStop(group, async () => {
    for (const [n, master] of masters.entries()) {
      const [from, to] = [Math.ceil((n * SLOTS) / 3), Math.ceil(((n + 1) * SLOTS) / 3) - 1]
      await withRedis(master, (client) => client.call('CLUSTER', 'ADDSLOTSRANGE', from, to))
    }
    for (const [n, server] of servers.entries()) {
      await withRedis(server, (client) => client.call('CLUSTER', 'SET-CONFIG-EPOCH', n + 1))
      if (n > 0) await meet(servers[0] as PrivateServer, server)
    }
    await untilAll(servers, 'it knows all nodes', (info) => info.includes(`cluster_known_nodes:${count}`))
    for (const [n, replica] of replicas.entries()) {
      const id = await withRedis(masters[n] as PrivateServer, (client) => client.call('CLUSTER', 'MYID'))
      await withRedis(replica, (client) => client.call('CLUSTER', 'REPLICATE', String(id)))
    }
    // Without `cluster-require-full-coverage` a node reports ok before it knows the owners of the other slots.
    const isWell = (info: string): boolean =>
      info.includes('cluster_state:ok') && info.includes(`cluster_slots_ok:${SLOTS}`)
    await untilAll(servers, 'the cluster is well', isWell)
    for (const replica of replicas) {
      await until('a replica is in sync', async () =>
        (await withRedis(replica, (client) => client.info('replication'))).includes('master_link_status:up'),
      )
    }
    return group
  })
}

async function meet(one: PrivateServer, other: PrivateServer): Promise<void> {
  const [, busPort] = (await withRedis(other, (client) => client.config('GET', 'cluster-port'))) as [string, string]
  await withRedis(one, (client) => client.call('CLUSTER', 'MEET', '127.0.0.1', portOf(other), busPort))
}

async function ownerOf(servers: readonly PrivateServer[], key: string): Promise<PrivateServer> {
  for (const server of servers) {
    const owner = await withRedis(server, async (client) => {
      const error = await client.get(key).then(
        () => undefined,
        (caught: Error) => caught.message,
      )
      const port = error === undefined ? portOf(server) : Number(/^MOVED \d+ .*:(\d+)$/.exec(error)?.[1])
      return servers.find((candidate) => portOf(candidate) === port)
    }).catch(() => undefined)
    if (owner !== undefined) return owner
  }
  throw new Error(`no server of the cluster knows who has ${key}`)
}

async function untilAll(
  servers: readonly PrivateServer[],
  what: string,
  holds: (clusterInfo: string) => boolean,
): Promise<void> {
  for (const server of servers) {
    await until(what, async () => holds(String(await withRedis(server, (client) => client.call('CLUSTER', 'INFO')))))
  }
}

/** `redis-server --sentinel`, which needs its own file for its state. */
const sentinelRecipe = (name: string, masterPort: number): Recipe => ({
  ...redis,
  prepare: async (site) => {
    const lines = [
      `port ${site.port}`,
      'bind 127.0.0.1',
      `dir ${site.folder}`,
      `sentinel monitor ${name} 127.0.0.1 ${masterPort} 2`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`,
      `sentinel parallel-syncs ${name} 2`,
    ]
    await writeFile(join(site.folder, 'sentinel.conf'), `${lines.join('\n')}\n`)
  },
  command: (site) => ({ file: redis.command(site).file, args: [join(site.folder, 'sentinel.conf'), '--sentinel'] }),
})

const valueOf = (fields: readonly string[], name: string): string | undefined => fields[fields.indexOf(name) + 1]

export async function startAll(count: number, start: () => Promise<PrivateServer>): Promise<readonly PrivateServer[]> {
  const starts = await Promise.allSettled(Array.from({ length: count }, start))
  const servers = starts.flatMap((begun) => (begun.status === 'fulfilled' ? [begun.value] : []))
  const failed = starts.find((begun) => begun.status === 'rejected')
  if (failed === undefined) return servers
  await stopAll(servers)
  throw failed.reason
}

function groupOf(servers: readonly PrivateServer[]): RedisGroup {
  const stop = (): Promise<void> => stopAll(servers)
  return { servers, stop, [Symbol.asyncDispose]: stop }
}

export async function stopAll(servers: readonly PrivateServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()))
}

async function orStop<T>(group: { stop(): Promise<void> }, setUp: () => Promise<T>): Promise<T> {
  try {
    return await setUp()
  } catch (error) {
    await group.stop()
    throw error
  }
}
