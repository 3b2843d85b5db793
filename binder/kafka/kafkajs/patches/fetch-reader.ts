/**
 * Makes one kafkajs consumer read its fetches with `fetch-answer.ts`, and tells what they said. It reaches only into the
 * connections of that consumer, which kafkajs hands to its assigner: other consumers of the program stay as they are.
 */
import type { KafkaCluster } from '../client-types.ts'
import { codecOf } from '../codecs.ts'
import { decodeFetch, FETCH_VERSIONS, type FetchAnswer, type PartitionAnswer, type Reading } from './fetch-answer.ts'
import { changeRequests, type Protocol } from './wrap-requests.ts'

export type FetchLimits = Pick<Reading, 'answerBytes' | 'roomBytes' | 'maxBatchBytes'>

/** Report of a fetch about a partition. */
export interface Fetched {
  readonly topic: string
  /** Where the fetch began. */
  readonly offset: number
  readonly answer: PartitionAnswer
}

export type FetchListener = (fetched: Fetched) => void

const FETCH_KEY = 1

interface FetchArgs {
  readonly maxWaitTime: number
  readonly topics: ReadonlyArray<{
    readonly topic: string
    readonly partitions: ReadonlyArray<{ readonly partition: number; readonly fetchOffset: string }>
  }>
}

/** @throws TypeError when the cluster is not that of kafkajs 2.2: aborted records would reach handlers */
export function readFetchesOf(cluster: KafkaCluster, limits: FetchLimits, listener: FetchListener): void {
  changeRequests<FetchArgs>(cluster, {
    apiKey: FETCH_KEY,
    changeFor: () => {
      let turn = 0
      return (make) => (args) => {
        // The first fetch does not wait for records: it tells how things stand.
        const maxWaitTime = turn === 0 ? 0 : args.maxWaitTime
        const startOf = (topic: string, partition: number): number => startIn(args, topic, partition)
        const reading = { ...limits, findCodec: codecOf, turn: turn++, startOf }
        return withOwnReader(make({ ...args, maxWaitTime }), reading, listener)
      }
    },
    onUnknown: (missing) => {
      throw new TypeError(`kafkaTransport needs kafkajs 2.2: ${missing}`)
    },
  })
}

function withOwnReader(protocol: Protocol, reading: Reading, listener: FetchListener): Protocol {
  const { apiVersion } = protocol.request
  if (apiVersion < FETCH_VERSIONS.min || apiVersion > FETCH_VERSIONS.max) return protocol
  const decode = async (payload: Buffer): Promise<FetchAnswer> => {
    const answer = await decodeFetch(apiVersion, payload, reading)
    tell(answer, reading, listener)
    return answer
  }
  return { ...protocol, response: { ...protocol.response, decode } }
}

function startIn({ topics }: FetchArgs, topic: string, partition: number): number {
  const asked = topics.filter((each) => each.topic === topic).flatMap((each) => each.partitions)
  return Number(asked.find((each) => each.partition === partition)?.fetchOffset ?? -1)
}

function tell({ responses }: FetchAnswer, { startOf }: Reading, listener: FetchListener): void {
  for (const { topicName: topic, partitions } of responses) {
    for (const answer of partitions) {
      if (answer.isLeft !== true) listener({ topic, offset: startOf(topic, answer.partition), answer })
    }
  }
}
