import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { SqlClient } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { openTransport } from '../cluster/transports.ts'
import { postgresLog } from '../harness/postgres-log.ts'
import type { Place } from './place.ts'
import { CALL_MS, LEASE_MS, SESSION_MS } from './settings.ts'

/**
 * Connects as a service would, but with a short timeout for lost members of a group.
 * @param transactionsOf the service's own database: where it is the broker's, messages are written with the service's
 * data
 */
export function transportTo(broker: Place['broker'], transactionsOf: SqlClient | undefined): Transport {
  if (broker.kind === 'cluster') return openTransport(broker.address, 'bank')
  const { kind, url } = broker
  switch (kind) {
    case 'rabbitmq':
      return rabbitTransport({ url, rebalanceMs: 500 })
    case 'kafka':
      return kafkaOn(url, {
        replicationFactor: 1,
        sessionTimeoutMs: SESSION_MS,
        heartbeatIntervalMs: SESSION_MS / 10,
      })
    case 'postgres':
      return postgresLog(url, { transactionsOf, callMs: CALL_MS, leaseMs: LEASE_MS })
  }
}
