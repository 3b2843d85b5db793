import { silentLogger } from 'concordat/core'
import { FakeClock } from '../fake-clock.ts'
import { type createConsumer, type KafkaClient, KafkaSubscription, resolveKafkaOptions } from '../inside.ts'
import { Recorder, range } from '../kit.ts'

type Consumer = ReturnType<KafkaClient['consumer']>
type Payload = Parameters<Parameters<Consumer['run']>[0]['eachBatch']>[0]

/** A consumer of kafkajs that does what the test says. */
export class FakeConsumer implements Consumer {
  readonly calls: string[] = []
  readonly seeks: string[] = []
  readonly resolved: string[] = []
  readonly committed: string[] = []
  readonly started = Promise.withResolvers<void>()
  heartbeat: () => Promise<void> = () => Promise.resolve()
  commit: () => Promise<void> = () => Promise.resolve()
  /** A batch was fetched before the last seek. */
  isStale = false
  #eachBatch: (payload: Payload) => Promise<void> = () => Promise.resolve()
  readonly #listeners = new Map<string, (event: { readonly payload: unknown }) => void>()

  connect = (): Promise<void> => this.#note('connect')
  disconnect = (): Promise<void> => this.#note('disconnect')
  subscribe = (): Promise<void> => this.#note('subscribe')
  describeGroup = (): Promise<{ readonly state: string }> => Promise.resolve({ state: 'Empty' })
  run({ eachBatch }: Parameters<Consumer['run']>[0]): Promise<void> {
    this.#eachBatch = eachBatch
    this.calls.push('run')
    return this.started.promise
  }
  seek({ partition, offset }: Parameters<Consumer['seek']>[0]): void {
    this.seeks.push(`${partition}:${offset}`)
  }
  pause = (): void => {}
  resume = (): void => {}
  on(event: string, listener: (event: { readonly payload: unknown }) => void): void {
    this.#listeners.set(event, listener)
  }

  emit(event: string, payload: unknown = {}): void {
    this.#listeners.get(event)?.({ payload })
  }

  join(...partitions: number[]): void {
    this.emit('consumer.group_join', { memberAssignment: { t: partitions } })
    this.started.resolve()
  }

  /** Resolves when kafkajs would fetch again. */
  batch(partition: number, from: number, count: number): Promise<void> {
    const messages = range(count, from).map((offset) => ({
      key: null,
      value: Buffer.from(String(offset)),
      timestamp: '0',
      offset: String(offset),
      headers: {},
    }))
    const last = String(from + count - 1)
    return this.#eachBatch({
      batch: { topic: 't', partition, messages, fetchedOffset: String(from), lastOffset: () => last },
      resolveOffset: (offset) => this.resolved.push(`${partition}:${offset}`),
      heartbeat: () => this.heartbeat(),
      commitOffsetsIfNecessary: ({ topics }) => {
        for (const each of topics[0]?.partitions ?? []) this.committed.push(`${each.partition}:${each.offset}`)
        return this.commit()
      },
      isStale: () => this.isStale,
    })
  }

  #note(call: string): Promise<void> {
    this.calls.push(call)
    return Promise.resolve()
  }
}

/** A subscription on such a consumer. */
export function setup(startAt?: ReadonlyMap<number, number>, prefetch = 100) {
  const clock = new FakeClock()
  const consumer = new FakeConsumer()
  const kafka = { producer: never, admin: never, consumer: () => consumer }
  const recorder = Recorder.keeping()
  let gate: (attempt: number) => Promise<void> = () => Promise.resolve()
  let tellFetched: NonNullable<Parameters<typeof createConsumer>[3]> = () => {}
  const answers: Array<Error | undefined> = []
  const subscription = new KafkaSubscription(
    { topic: 't', groupId: 'g.t', partitions: 4, prefetch, prefetchBytes: 1_000_000, startAt },
    {
      options: resolveKafkaOptions({ kafka }),
      clock,
      logger: silentLogger,
      createConsumer: (_spec, { beforeJoin, onFetched }) => {
        gate = beforeJoin
        tellFetched = onFetched
        return consumer
      },
      onAnswer: (error) => answers.push(error as Error | undefined),
      onEnd: () => Promise.resolve(),
    },
    recorder,
  )
  const opened = async (...partitions: number[]): Promise<void> => {
    const opening = subscription.open()
    await ticks()
    consumer.join(...partitions)
    await opening
  }
  /** Opened, with ten messages of the partition that wait, and no room for more. */
  const full = async (partition: number): Promise<void> => {
    await opened(partition)
    const taken = consumer.batch(partition, 0, 10)
    await ticks()
    subscription.pause()
    await taken
    subscription.resume()
  }
  /** Answers a fetch without records. */
  const fetched = (partition: number, offset: number, errorCode: number): void =>
    tellFetched({
      topic: 't',
      offset,
      answer: {
        partition,
        errorCode,
        highWatermark: '60',
        lastStableOffset: '60',
        abortedTransactions: [],
        messages: [],
        unreadable: undefined,
      },
    })
  return { clock, consumer, recorder, subscription, answers, opened, full, fetched, rejoin: () => gate(1) }
}

export const OFFSET_OUT_OF_RANGE = 1

export const never = (): never => {
  throw new Error('not called')
}

export async function ticks(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** A heartbeat of a member that the group has forgotten. */
export function expelled(): Promise<void> {
  return Promise.reject(Object.assign(new Error(), { type: 'UNKNOWN_MEMBER_ID' }))
}
