/** Brokers, and leaders of partitions. */
import type { ByteReader } from '../../records/bytes.ts'
import { requireSuccess } from './errors.ts'
import type { Request } from './request-codec.ts'

export interface Broker {
  readonly id: number
  readonly host: string
  readonly port: number
}

export interface Metadata {
  readonly brokers: readonly Broker[]
  readonly controllerId: number
  readonly topics: readonly TopicMetadata[]
}

export interface TopicMetadata {
  readonly name: string
  readonly errorCode: number
  readonly isInternal: boolean
  readonly partitions: readonly PartitionMetadata[]
}

export interface PartitionMetadata {
  readonly partition: number
  /** -1: none. */
  readonly leader: number
}

/** @param topics null: all that there are */
export function metadata(topics: readonly string[] | null): Request<Metadata> {
  return {
    apiKey: 3,
    apiVersion: 7,
    name: 'Metadata',
    write(to) {
      // No topic is made by asking for it.
      to.array(topics, (topic) => to.string(topic)).boolean(false)
    },
    read(from) {
      from.int32()
      const brokers = from.array(() => readBroker(from, true))
      from.nullableString()
      const controllerId = from.int32()
      return { brokers, controllerId, topics: from.array(() => readTopic(from)) }
    },
  }
}

function readBroker(from: ByteReader, withRack: boolean): Broker {
  const broker = { id: from.int32(), host: from.string(), port: from.int32() }
  if (withRack) from.nullableString()
  return broker
}

function readTopic(from: ByteReader): TopicMetadata {
  const errorCode = from.int16()
  const name = from.string()
  const isInternal = from.boolean()
  const partitions = from.array(() => {
    from.int16()
    const partition = from.int32()
    const leader = from.int32()
    from.int32()
    for (let list = 0; list < 3; list++) from.array(() => from.int32())
    return { partition, leader }
  })
  return { name, errorCode, isInternal, partitions }
}

/** @throws KafkaRefusal when it is not known (yet) */
export function findCoordinator(groupId: string): Request<Broker> {
  return {
    apiKey: 10,
    apiVersion: 1,
    name: 'FindCoordinator',
    write(to) {
      to.string(groupId).int8(0)
    },
    read(from) {
      from.int32()
      const code = from.int16()
      requireSuccess(code, `the coordinator of group "${groupId}" is not known`, from.nullableString())
      return readBroker(from, false)
    },
  }
}
