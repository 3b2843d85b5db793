import type { NewTopic } from '../../driver.ts'
import type { ByteReader } from '../../records/bytes.ts'
import { errorName, KafkaRefusal, requireSuccess } from './errors.ts'
import type { Request } from './request-codec.ts'

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

const TOPIC_RESOURCE = 2

/** Settings by topic. @throws KafkaRefusal when one of them may not be read */
export function describeConfigs(
  topics: readonly string[],
): Request<ReadonlyMap<string, Readonly<Record<string, string>>>> {
  return {
    apiKey: 32,
    apiVersion: 1,
    name: 'DescribeConfigs',
    write(to) {
      to.array(topics, (topic) =>
        to
          .int8(TOPIC_RESOURCE)
          .string(topic)
          .array(null, () => {}),
      )
      to.boolean(false)
    },
    read(from) {
      from.int32()
      const found = from.array(() => {
        requireSuccess(from.int16(), 'the settings of a topic were not told', from.nullableString())
        from.int8()
        return [from.string(), Object.fromEntries(from.array(() => readConfig(from)))] as const
      })
      return new Map(found)
    },
  }
}

function readConfig(from: ByteReader): readonly [string, string] {
  const [name, value] = [from.string(), from.nullableString()]
  from.boolean()
  from.int8()
  from.boolean()
  from.array(() => {
    from.string()
    from.nullableString()
    from.int8()
  })
  return [name, value ?? '']
}
