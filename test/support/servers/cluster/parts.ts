import type { ServerKind } from '../kinds.ts'
import { type SentinelRedis, startSentinels } from '../redis-groups.ts'
import { recipes } from '../start.ts'
import type { ServerGroup } from './group.ts'
import { startKafkaCluster } from './kafka.ts'
import { type PostgresPair, portOf, startPostgresPair } from './postgres.ts'
import { startRabbitCluster } from './rabbitmq.ts'

/** What `npm run servers -- cluster` starts, in this order. */
export const clusterParts = ['postgres', 'redis', 'rabbitmq', 'kafka'] as const satisfies readonly ServerKind[]
export type ClusterPart = (typeof clusterParts)[number]

export interface StartedPart {
  readonly part: ClusterPart
  readonly group: Pick<ServerGroup, 'stop'>
  /** For a shell. */
  readonly lines: readonly string[]
}

/** @throws ServerUnavailable naming what is missing */
export async function startPart(part: ClusterPart, signal: AbortSignal): Promise<StartedPart> {
  await recipes[part].require()
  switch (part) {
    case 'postgres': {
      const pair = await startPostgresPair({ signal })
      return { part, group: pair, lines: postgresLines(pair) }
    }
    case 'redis': {
      const group = await startSentinels()
      return { part, group, lines: redisLines(group) }
    }
    case 'rabbitmq': {
      const group = await startRabbitCluster({ signal })
      return { part, group, lines: [`export RABBITMQ_URLS=${group.urls.join(',')}`] }
    }
    case 'kafka': {
      const group = await startKafkaCluster({ signal })
      return { part, group, lines: [`export KAFKA_BROKERS=${group.brokers.join(',')}`] }
    }
  }
}

function postgresLines({ primary, standby }: PostgresPair): readonly string[] {
  const promote = `psql -h 127.0.0.1 -p ${portOf(standby)} -U postgres`
  return [
    `export POSTGRES_URL=${primary.url}`,
    `export POSTGRES_STANDBY_URL=${standby.url}`,
    `# promote the standby: ${promote} -c 'SELECT pg_promote()' -c "ALTER SYSTEM SET synchronous_standby_names = ''" -c 'SELECT pg_reload_conf()'`,
  ]
}

function redisLines({ name, sentinels }: SentinelRedis): readonly string[] {
  return [
    `export REDIS_SENTINELS=${sentinels.map(({ host, port }) => `${host}:${port}`).join(',')}`,
    `export REDIS_SENTINEL_NAME=${name}`,
  ]
}
