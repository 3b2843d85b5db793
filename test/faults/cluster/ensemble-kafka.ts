import kafkajs, { type Admin, Kafka, logLevel } from 'kafkajs'
import { findBinary } from '../../support/servers/binaries.ts'
import { type KafkaCluster, startKafkaCluster } from '../../support/servers/cluster/index.ts'
import { runCommand } from '../../support/servers/command.ts'
import { until } from '../../support/until.ts'
import { Link } from '../harness/link.ts'
import type { Random } from '../harness/random.ts'
import type { Ended, Ensemble, Node } from './ensemble.ts'
import { PARTITIONS } from './settings.ts'
import { parcels } from './tables.ts'

const WHOLE_WITHIN_MS = 90_000

export class KafkaEnsemble implements Ensemble {
  readonly nodes: readonly Node[]
  readonly #cluster: KafkaCluster
  /** Links of each node to those that follow it. */
  readonly #between: readonly Link[]
  #partitions = PARTITIONS

  private constructor(cluster: KafkaCluster, nodes: readonly Node[], between: readonly Link[]) {
    this.#cluster = cluster
    this.nodes = nodes
    this.#between = between
  }

  static async start(signal: AbortSignal): Promise<KafkaEnsemble> {
    const between: Link[] = []
    const cluster = await startKafkaCluster({
      signal,
      via: async (port, n) => {
        const link = await Link.to(port)
        between[n] = link
        return link.port
      },
    })
    const nodes = await Promise.all(
      cluster.servers.map(async (server) => ({ server, link: await Link.to(portOf(server.url)) })),
    )
    return new KafkaEnsemble(cluster, nodes, between)
  }

  get address() {
    const nodes = this.nodes.map(({ server, link }) => ({ port: portOf(server.url), via: link.port }))
    return { broker: { kind: 'kafka', nodes } as const }
  }

  async leader(): Promise<Node> {
    const leaders = await this.#ask(async (admin) => (await partitionsOf(admin)).map(({ leader }) => leader))
    const counts = this.nodes.map((_, n) => leaders.filter((id) => id === n + 1).length)
    return this.nodes[counts.indexOf(Math.max(...counts))] as Node
  }

  async whole(): Promise<void> {
    const isWhole = async (admin: Admin): Promise<boolean> => {
      const partitions = await partitionsOf(admin)
      return (
        partitions.length > 0 && partitions.every(({ isr, leader }) => isr.length === this.nodes.length && leader > 0)
      )
    }
    await until('all copies are in sync', () => this.#ask(isWhole).catch(() => false), WHOLE_WITHIN_MS)
  }

  async replace({ server }: Node): Promise<void> {
    await this.#cluster.replace(server)
  }

  /** Cuts the others off from the node; it still reads from them and receives from its controller. */
  async cutOff(node: Node): Promise<() => Promise<void>> {
    const link = this.#between[this.nodes.indexOf(node)] as Link
    link.hold('both')
    return async () => {
      link.heal()
    }
  }

  /** Once there is a rule for a resource, what no rule allows is denied. */
  async takeRights(random: Random): Promise<Ended> {
    const { what, type } = random.pick(RIGHTS)
    const all = { resourceType: type, resourceName: '*', resourcePatternType: ResourcePatternTypes.LITERAL }
    const rule = {
      principal: 'User:ANONYMOUS',
      host: '*',
      operation: AclOperationTypes.DESCRIBE,
      permissionType: AclPermissionTypes.ALLOW,
    }
    await this.#ask((admin) => admin.createAcls({ acl: [{ ...all, ...rule }] }))
    const end = async (): Promise<void> => {
      await this.#ask((admin) => admin.deleteAcls({ filters: [{ ...all, ...rule }] }))
    }
    return { what, seen: async () => 'a rule was there that names nobody but who may look', end }
  }

  /**
   * Stops the files of a node from growing: a broker whose only folder cannot be written ends. Started again it has
   * room.
   */
  async fill({ server }: Node): Promise<Ended> {
    const prlimit = findBinary('prlimit')
    if (prlimit === undefined) throw new Error('no prlimit in PATH (Debian: apt-get install util-linux)')
    const { pid } = server
    await runCommand({ file: prlimit, args: ['--pid', String(pid), '--fsize=1'] }, '/')
    const end = async (): Promise<void> => {
      await server.kill()
      await server.start()
    }
    return { what: 'no file may grow', seen: async () => (lives(pid) ? undefined : 'the broker ended by itself'), end }
  }

  /** @returns how many the topic has now */
  async addPartitions(more: number): Promise<number> {
    this.#partitions += more
    const topicPartitions = [{ topic: parcels.name, count: this.#partitions }]
    await this.#ask((admin) => admin.createPartitions({ topicPartitions }))
    return this.#partitions
  }

  async close(): Promise<void> {
    await Promise.all([...this.nodes.map(({ link }) => link), ...this.#between].map((link) => link.close()))
    await this.#cluster.stop()
  }

  async #ask<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const brokers = [...this.#cluster.brokers]
    const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING, requestTimeout: 5_000 }).admin()
    await admin.connect()
    try {
      return await work(admin)
    } finally {
      await admin.disconnect()
    }
  }
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Node does not see that these are exported by name. */
const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs

const RIGHTS = [
  { what: 'the rights to write and read topics', type: AclResourceTypes.TOPIC },
  { what: 'the rights to be in groups', type: AclResourceTypes.GROUP },
] as const

/** Leaders of the channel's partitions and of the groups' positions. */
async function partitionsOf(admin: Admin) {
  const { topics } = await admin.fetchTopicMetadata({ topics: [parcels.name, '__consumer_offsets'] })
  return topics.flatMap(({ partitions }) => partitions)
}

const portOf = (url: string): number => Number(url.split(':').at(-1))
