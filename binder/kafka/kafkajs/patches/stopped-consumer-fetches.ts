/**
 * When the brokers that it knows have changed, kafkajs waits for the fetches under way and begins anew with those there are, and
 * does not look whether the consumer was stopped meanwhile. Then each fetch is answered at once with nothing, without a pause,
 * which starves every timer and socket of the process. We therefore reject a fetch that begins while the consumer is being
 * stopped. kafkajs takes that for a failure: it waits a moment, sees that it was stopped, and ends.
 */
import type { KafkaCluster, KafkaConsumer } from '../client-types.ts'

/** State at the beginning of each round of fetching. */
interface Fetching {
  getNodeIds(): readonly number[]
}

/** The fetches of one consumer. */
export class StoppedConsumerFetches {
  #ended = false

  /** @throws TypeError when the cluster is not that of kafkajs 2.2 */
  watch(cluster: KafkaCluster): void {
    const fetching = cluster as unknown as Fetching
    if (typeof fetching.getNodeIds !== 'function')
      throw new TypeError('kafkaTransport needs kafkajs 2.2: the cluster of this one has no getNodeIds')
    const getNodeIds = fetching.getNodeIds.bind(cluster)
    fetching.getNodeIds = () => {
      if (this.#ended) throw new Error('the consumer was stopped')
      return getNodeIds()
    }
  }

  /** From its `disconnect` on nothing is fetched. */
  endWith(consumer: KafkaConsumer): void {
    const disconnect = consumer.disconnect.bind(consumer)
    consumer.disconnect = () => {
      this.#ended = true
      return disconnect()
    }
  }
}
