import type { ProducerIdentity } from '../../records/batch-writer.ts'
import { errorName, requireSuccess } from './errors.ts'
import type { Request } from './request-codec.ts'

/** @throws KafkaRefusal */
export function initProducerId(): Request<ProducerIdentity> {
  return {
    apiKey: 22,
    apiVersion: 1,
    name: 'InitProducerId',
    write(to) {
      to.string(null).int32(60_000)
    },
    read(from) {
      from.int32()
      requireSuccess(from.int16(), 'no producer id was given out')
      return { id: from.int64(), epoch: from.int16() }
    },
  }
}

/** Records of one partition, in the form of the wire. */
export interface ProducedBatch {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
}

export interface ProduceAnswer {
  readonly topic: string
  readonly partition: number
  /** The protocol's name of what went wrong. */
  readonly error: string | undefined
  readonly detail: string | null
}

const ALL_REPLICAS = -1

/** At most one batch for each partition. Confirmed by all in-sync replicas. */
export function produce(batches: readonly ProducedBatch[], timeoutMs: number): Request<readonly ProduceAnswer[]> {
  return {
    apiKey: 0,
    apiVersion: 8,
    name: 'Produce',
    size: batches.reduce((sum, { topic, bytes }) => sum + bytes.length + topic.length * 3 + 16, 64),
    write(to) {
      to.string(null).int16(ALL_REPLICAS).int32(timeoutMs)
      to.array([...byTopic(batches)], ([topic, each]) => {
        to.string(topic).array(each, ({ partition, bytes }) => to.int32(partition).bytesField(bytes))
      })
    },
    read(from) {
      const answers: ProduceAnswer[] = []
      from.array(() => {
        const topic = from.string()
        from.array(() => {
          const partition = from.int32()
          const error = errorName(from.int16())
          for (let field = 0; field < 3; field++) from.int64()
          const details = from.array(() => {
            from.int32()
            return from.nullableString()
          })
          const detail = from.nullableString() ?? details[0] ?? null
          answers.push({ topic, partition, error, detail })
        })
      })
      return answers
    },
  }
}

function byTopic(batches: readonly ProducedBatch[]): ReadonlyMap<string, ProducedBatch[]> {
  const topics = new Map<string, ProducedBatch[]>()
  for (const batch of batches) {
    const known = topics.get(batch.topic)
    if (known === undefined) topics.set(batch.topic, [batch])
    else known.push(batch)
  }
  return topics
}
