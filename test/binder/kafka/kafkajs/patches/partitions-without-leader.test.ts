import { createRequire } from 'node:module'
import { expect, it } from 'vitest'
import { acceptPartitionsWithoutLeader, ByteWriter } from '../../inside.ts'

const METADATA = 3
const LEADER_NOT_AVAILABLE = 5

interface Response {
  decode(payload: Buffer): Promise<unknown>
  parse(decoded: unknown): Promise<{ readonly topicMetadata: readonly unknown[] }>
}

const response = createRequire(import.meta.url)('kafkajs/src/protocol/requests/metadata/v0/response.js') as Response

/** Answer in version 0 about a topic of two partitions, the second with this error and leader. */
function answerOf(error: number, leader: number): Buffer {
  const to = new ByteWriter()
  to.array([1], (id) => to.int32(id).string('localhost').int32(9092))
  to.array(['t'], (topic) => {
    to.int16(0).string(topic)
    to.array([0, 1], (partition) => {
      to.int16(partition === 1 ? error : 0).int32(partition)
      to.int32(partition === 1 ? leader : 1)
      to.array([1], (replica) => to.int32(replica)).array([1], (replica) => to.int32(replica))
    })
  })
  return to.bytes
}

/** Reads the answer as a client does whose cluster was changed. */
async function read(payload: Buffer): Promise<unknown> {
  const request = { apiVersion: 0, encode: async () => undefined }
  const broker = { lookupRequest: () => () => ({ request, response }) }
  const cluster = { brokerPool: { createBroker: () => broker } }
  acceptPartitionsWithoutLeader(cluster)
  const made: { lookupRequest(key: number): () => { readonly response: Response } } =
    cluster.brokerPool.createBroker() as never
  const changed = made.lookupRequest(METADATA)().response
  return changed.parse(await changed.decode(payload))
}

it('an admin client of kafkajs reads metadata in which a partition has no leader', async () => {
  const payload = answerOf(LEADER_NOT_AVAILABLE, -1)
  await expect(response.decode(payload).then((decoded) => response.parse(decoded))).rejects.toMatchObject({
    type: 'LEADER_NOT_AVAILABLE',
  })
  const partitionMetadata = [expect.objectContaining({ leader: 1 }), expect.objectContaining({ leader: -1 })]
  expect(await read(payload)).toMatchObject({ topicMetadata: [{ topic: 't', partitionMetadata }] })
})

it('an admin client of kafkajs still rejects other errors of a partition', async () => {
  await expect(read(answerOf(3, 1))).rejects.toMatchObject({ type: 'UNKNOWN_TOPIC_OR_PARTITION' })
})
