import type { KafkaClient } from '../client-types.ts'
import { replacePrivateField } from './replace-private-field.ts'

/**
 * What `make` makes of the client has its connections (kafkajs' `Cluster`) looked at by `look` first. They are of that one thing:
 * others of the program stay as they are. A client that is not kafkajs 2.2 inside shows none.
 */
export function interceptClusters<T>(client: KafkaClient, look: (cluster: object) => void, make: () => T): T {
  const usual = replacePrivateField<(options: object) => object>(
    client,
    'private:Kafka:createCluster',
    (create) => (options) => {
      const cluster = create?.(options) ?? {}
      look(cluster)
      return cluster
    },
  )
  try {
    return make()
  } finally {
    usual()
  }
}
