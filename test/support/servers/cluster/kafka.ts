import { until } from '../../until.ts'
import { AUTHORIZED, kafkaRecipe, newClusterId } from '../kafka.ts'
import { freePort } from '../ports.ts'
import { freePorts, type PrivateServer } from '../private-server.ts'
import { orStop, type ServerGroup, startTogether, stopAll } from './group.ts'

/** Three brokers, each a controller too: every topic has three copies, and a write is confirmed when two have it. */
export interface KafkaCluster extends ServerGroup {
  /** For `new Kafka({ brokers })`. */
  readonly brokers: readonly string[]
  /** Replaces a killed broker by an empty one, which has its number and address and copies the data of the others. */
  replace(server: PrivateServer): Promise<void>
}

export interface KafkaClusterOptions {
  readonly signal?: AbortSignal | undefined
  /** The port under which the others reach the nth broker, which listens for them at this one (a proxy). @default that port */
  readonly via?: ((port: number, n: number) => Promise<number>) | undefined
}

const NODES = [1, 2, 3] as const
const HEAP_MIB = 256

export async function startKafkaCluster({ signal, via }: KafkaClusterOptions = {}): Promise<KafkaCluster> {
  const sites = await Promise.all(
    NODES.map(async (id) => {
      const between = await freePort()
      return { id, ports: await freePorts(), between, reachedAt: (await via?.(between, id - 1)) ?? between }
    }),
  )
  const voters = sites.map(({ id, ports }) => `${id}@127.0.0.1:${ports.innerPort}`).join(',')
  const clusterId = newClusterId()
  const recipe = kafkaRecipe(() => clusterId, HEAP_MIB)
  const servers = await startTogether(
    sites.map(({ id, ports, between, reachedAt }) => ({
      recipe,
      options: {
        signal,
        ports,
        settings: {
          ...REPLICATED,
          'node.id': String(id),
          'controller.quorum.voters': voters,
          listeners: `PLAINTEXT://127.0.0.1:{port},BETWEEN://127.0.0.1:${between},CONTROLLER://127.0.0.1:{innerPort}`,
          'advertised.listeners': `PLAINTEXT://127.0.0.1:{port},BETWEEN://127.0.0.1:${reachedAt}`,
        },
      },
    })),
  )
  return orStop(servers, async () => {
    const brokers = servers.map(({ url }) => url)
    await untilComplete(brokers)
    const stop = (): Promise<void> => stopAll(servers)
    return {
      servers,
      brokers,
      stop,
      [Symbol.asyncDispose]: stop,
      replace: async (server) => {
        await server.renew()
        await server.start()
      },
    }
  })
}

const REPLICATED = {
  ...AUTHORIZED,
  'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,BETWEEN:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT',
  'inter.broker.listener.name': 'BETWEEN',
  'default.replication.factor': '3',
  'min.insync.replicas': '2',
  'unclean.leader.election.enable': 'false',
  'offsets.topic.num.partitions': '3',
  'offsets.topic.replication.factor': '3',
  'transaction.state.log.replication.factor': '3',
  'transaction.state.log.min.isr': '2',
  'share.coordinator.state.topic.replication.factor': '3',
  'share.coordinator.state.topic.min.isr': '2',
  // Time after which a follower that lags leaves the in-sync set, and a silent controller is replaced.
  'replica.lag.time.max.ms': '3000',
  'controller.quorum.election.timeout.ms': '1000',
  'controller.quorum.fetch.timeout.ms': '2000',
  'leader.imbalance.check.interval.seconds': '5',
} as const

async function untilComplete(brokers: readonly string[]): Promise<void> {
  const { Kafka, logLevel } = await import('kafkajs')
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    await until(
      'all brokers are members of the cluster',
      async () => (await admin.describeCluster()).brokers.length === NODES.length,
    )
  } finally {
    await admin.disconnect()
  }
}
