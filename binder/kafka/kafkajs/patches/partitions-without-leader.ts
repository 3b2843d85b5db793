/**
 * kafkajs 2.2 rejects what a broker says of topics as a whole when one partition of any of them has no leader. So one such partition,
 * of whatever topic, keeps an admin client from listing topics. Here its metadata have the partition, with -1 as its leader.
 */
import { type Broker, changeRequestsOf, type MakeRequest } from './wrap-requests.ts'

const METADATA = 3

interface PoolingCluster {
  readonly brokerPool: { createBroker: (options: object) => Broker }
}

/** Answer of a broker, decoded and not checked for errors. */
interface Metadata {
  readonly topicMetadata: ReadonlyArray<{
    readonly partitionMetadata: ReadonlyArray<{ partitionErrorCode: number; readonly leader: number }>
  }>
}

/** For a cluster that has not connected yet. Leaves one that is not that of kafkajs 2.2 as it is. */
export function acceptPartitionsWithoutLeader(cluster: object): void {
  const pool = (cluster as Partial<PoolingCluster>).brokerPool
  if (typeof pool?.createBroker !== 'function') return
  const create = pool.createBroker
  pool.createBroker = (options) => {
    const broker = create(options)
    changeRequestsOf(broker, { apiKey: METADATA, changeFor: () => withoutTheirErrors, onUnknown: () => {} })
    return broker
  }
}

function withoutTheirErrors(make: MakeRequest<unknown>): MakeRequest<unknown> {
  return (args) => {
    const { request, response } = make(args)
    const decode = async (payload: Buffer): Promise<Metadata> => {
      const metadata = (await response.decode(payload)) as Metadata
      for (const { partitionMetadata } of metadata.topicMetadata)
        for (const partition of partitionMetadata) if (partition.leader < 0) partition.partitionErrorCode = 0
      return metadata
    }
    return { request, response: { ...response, decode } }
  }
}
