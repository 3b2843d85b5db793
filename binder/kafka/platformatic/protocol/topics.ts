import type { NewTopic } from '../../driver.ts'
import { errorName, KafkaRefusal } from './errors.ts'
import type { Request } from './request.ts'

/** Resolves with what was refused. */
export function createTopics(topics: readonly NewTopic[], timeoutMs: number): Request<readonly KafkaRefusal[]> {
  return {
    apiKey: 19,
    apiVersion: 4,
    name: 'CreateTopics',
    write(to) {
      to.array(topics, ({ name, partitions, replicationFactor, config }) => {
        to.string(name).int32(partitions).int16(replicationFactor).int32(0)
        to.array(Object.entries(config), ([key, value]) => to.string(key).string(value))
      })
      to.int32(timeoutMs).boolean(false)
    },
    read(from) {
      from.int32()
      const answers = from.array(() => ({
        topic: from.string(),
        type: errorName(from.int16()),
        detail: from.nullableString(),
      }))
      return answers.flatMap(({ topic, type, detail }) =>
        type === undefined ? [] : [new KafkaRefusal(type, 'the topic was not created', { topic, detail })],
      )
    },
  }
}
