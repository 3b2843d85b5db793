/**
 * murmur2 and the partition rule of the Java Kafka client, so that every producer in every language puts a key in the same
 * partition. Used for Kafka keys (kafkajs agrees), RabbitMQ partition queues and outbox partitions.
 *
 * @see org.apache.kafka.common.utils.Utils.murmur2 (Apache Kafka), Austin Appleby's MurmurHash2
 */
const SEED = 0x9747b28c
const M = 0x5bd1e995

/** Returns the partition of a key: `(murmur2(utf8(key)) & 0x7fffffff) % count`; bytes are used unchanged. */
export function partitionOf(key: string | Uint8Array, count: number): number {
  return (murmur2(typeof key === 'string' ? Buffer.from(key) : key) & 0x7fffffff) % count
}

/** Returns murmur2 of the bytes as a signed 32-bit integer. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  const view = new DataView(bytes.buffer, bytes.byteOffset, length)
  let h = SEED ^ length
  const blocks = length >> 2
  for (let i = 0; i < blocks; i++) {
    let k = Math.imul(view.getInt32(i * 4, true), M)
    k = Math.imul(k ^ (k >>> 24), M)
    h = Math.imul(h, M) ^ k
  }
  const tail = blocks * 4
  const rest = length & 3
  if (rest === 3) h ^= view.getUint8(tail + 2) << 16
  if (rest >= 2) h ^= view.getUint8(tail + 1) << 8
  if (rest >= 1) h = Math.imul(h ^ view.getUint8(tail), M)
  h = Math.imul(h ^ (h >>> 13), M)
  return h ^ (h >>> 15)
}
