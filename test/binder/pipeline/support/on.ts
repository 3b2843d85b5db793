import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { SqlClient } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import { kafkaOn } from '../../../support/kafka-driver.ts'

/** Shortest session that the Kafka broker allows; a killed process keeps its partitions for this time. */
const SESSION_MS = 6_000

export function transportOn(kind: string, url: string, sql: SqlClient): Transport {
  if (kind === 'kafka') return kafkaOn(url, { sessionTimeoutMs: SESSION_MS, heartbeatIntervalMs: 500 })
  return kind === 'rabbitmq' ? rabbitTransport({ url }) : postgresTransport({ sql })
}
