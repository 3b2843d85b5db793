/** Rare and badly timed behaviour of kafkajs, played by a scripted consumer. The rest is tested on a broker. */
import { silentLogger } from 'concordat/core'
import { describe, it } from 'vitest'
import { FakeClock } from '../fake-clock.ts'
import { createConsumer, type KafkaClient, KafkaSubscription, resolveKafkaOptions } from '../inside.ts'
import { Recorder, range } from '../kit.ts'

type Consumer = ReturnType<KafkaClient['consumer']>
type Payload = Parameters<Parameters<Consumer['run']>[0]['eachBatch']>[0]

class FakeConsumer implements Consumer {
  readonly calls: string[] = []
  readonly seeks: string[] = []
  readonly resolved: string[] = []
  readonly committed: string[] = []
  readonly started = Promise.withResolvers<void>()
  heartbeat: () => Promise<void> = () => Promise.resolve()
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
        return Promise.resolve()
      },
      isStale: () => false,
    })
  }

  #note(call: string): Promise<void> {
    this.calls.push(call)
    return Promise.resolve()
  }
}

function setup(startAt?: ReadonlyMap<number, number>, prefetch = 100) {
  const clock = new FakeClock()
  const consumer = new FakeConsumer()
  const kafka = { producer: never, admin: never, consumer: () => consumer }
  const recorder = Recorder.keeping()
  let gate: (attempt: number) => Promise<void> = () => Promise.resolve()
  const answers: Array<Error | undefined> = []
  const subscription = new KafkaSubscription(
    { topic: 't', groupId: 'g.t', partitions: 4, prefetch, prefetchBytes: 1_000_000, startAt },
    {
      options: resolveKafkaOptions({ kafka }),
      clock,
      logger: silentLogger,
      createConsumer: (_spec, { beforeJoin }) => {
        gate = beforeJoin
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
  return { clock, consumer, recorder, subscription, answers, opened, full, rejoin: () => gate(1) }
}

const never = (): never => {
  throw new Error('not called')
}

async function ticks(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

describe('a subscription that opens', () => {
  it('has its place when the group is joined', async ({ expect }) => {
    const { consumer, subscription } = setup()
    let isOpen = false
    const opening = subscription.open().then(() => (isOpen = true))
    await ticks()
    expect([isOpen, consumer.calls]).toEqual([false, ['connect', 'subscribe', 'run']])
    consumer.join(0, 1)
    await opening
    expect(isOpen).toBe(true)
  })

  it('rejects with the reason of a crash, is not lost, and disconnects only after kafkajs has started', async ({
    expect,
  }) => {
    const { consumer, recorder, subscription } = setup()
    const opening = subscription.open()
    await ticks()
    consumer.emit('consumer.crash', { error: new Error('no coordinator') })
    await expect(opening).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringContaining('no coord') })
    await ticks()
    expect(consumer.calls).not.toContain('disconnect')
    consumer.started.resolve()
    await ticks()
    expect([consumer.calls.at(-1), recorder.losses]).toEqual(['disconnect', []])
  })

  it('gives up when the group is not joined in time', async ({ expect }) => {
    const { clock, subscription } = setup()
    const opening = subscription.open()
    const failed = expect(opening).rejects.toMatchObject({ retryable: true })
    await ticks()
    for (let i = 0; i < 80; i++) clock.advance(500)
    await failed
  })

  it('rejects when it is closed during the start', async ({ expect }) => {
    const { consumer, subscription } = setup()
    const opening = subscription.open()
    await ticks()
    consumer.started.resolve()
    const failed = expect(opening).rejects.toMatchObject({ code: 'binder.transport' })
    await Promise.all([subscription.close(), failed])
  })
})

describe('a subscription that breaks', () => {
  it('is lost once, with the reason of the crash although the stop came first', async ({ expect }) => {
    const { clock, consumer, recorder, answers, opened, rejoin } = setup()
    await opened(0)
    void consumer.batch(0, 0, 3)
    await ticks()
    consumer.emit('consumer.stop')
    consumer.emit('consumer.crash', { error: new Error('fatal') })
    clock.advance(500)
    consumer.emit('consumer.crash', { error: new Error('again') })
    await ticks()
    expect(recorder.losses.map(({ message }) => message)).toEqual([expect.stringContaining('fatal')])
    expect(recorder.got.map(({ signal }) => signal.aborted)).toEqual([true, true, true])
    expect(answers.at(-1)?.message).toBe('fatal')
    await expect(rejoin()).rejects.toMatchObject({ code: 'binder.kafka.join_refused', retriable: false })
  })

  it('is lost when kafkajs stops without an error', async ({ expect }) => {
    const { clock, consumer, recorder, opened } = setup()
    await opened(0)
    consumer.emit('consumer.stop')
    expect(recorder.losses).toEqual([])
    clock.advance(500)
    expect(recorder.losses).toHaveLength(1)
  })

  it('is lost after a session timeout without an answer, not before', async ({ expect }) => {
    const { clock, consumer, recorder, opened } = setup()
    await opened(0)
    for (let i = 0; i < 19; i++) clock.advance(500)
    consumer.emit('consumer.heartbeat')
    for (let i = 0; i < 20; i++) clock.advance(500)
    expect(recorder.losses).toEqual([])
    clock.advance(500)
    expect(recorder.losses).toHaveLength(1)
  })

  it('cannot be restarted by kafkajs', async ({ expect }) => {
    let retry: { restartOnFailure?: (error: Error) => Promise<boolean> } = {}
    const kafka = {
      producer: never,
      admin: never,
      consumer: (config: { retry?: typeof retry }) => {
        retry = config.retry ?? {}
        return new FakeConsumer()
      },
    }
    const spec = { topic: 't', groupId: 'g', partitions: 4, prefetch: 1, prefetchBytes: 1, startAt: undefined }
    createConsumer(resolveKafkaOptions({ kafka }), spec, never)
    expect(await retry.restartOnFailure?.(new Error('crash'))).toBe(false)
  })
})

describe('a rebalance', () => {
  it('waits for running handlers, commits their messages, and refuses batches until then', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 3)
    let joins = false
    const joining = rejoin().then(() => (joins = true))
    await consumer.batch(0, 3, 3)
    await ticks()
    expect([joins, recorder.recalls, recorder.got.length]).toEqual([false, 1, 3])
    expect(consumer.resolved).toEqual(['0:2'])
    recorder.got[0]?.ack()
    recorder.got[1]?.ack()
    recorder.got[2]?.release()
    await joining
    expect(consumer.committed).toEqual(['0:2'])
    expect(recorder.got.every(({ signal }) => signal.aborted)).toBe(true)
  })

  it('fills gaps below finished messages, so that those are not redelivered', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 5)
    const joining = rejoin()
    recorder.got[3]?.ack()
    for (const i of [0, 1, 2, 4]) recorder.got[i]?.release()
    await ticks()
    expect(recorder.got.slice(5).map(({ position }) => position)).toEqual(
      range(3).map((n) => `partition 0 offset ${n}`),
    )
    for (const delivery of recorder.got.slice(5)) delivery.ack()
    await joining
    expect(consumer.committed.at(-1)).toBe('0:4')
  })

  it('ends also when the binder gives everything back at once', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 3)
    recorder.onDelivery = (delivery) => delivery.release()
    const joining = rejoin()
    recorder.got[2]?.ack()
    for (const i of [0, 1]) recorder.got[i]?.release()
    await joining
    expect(recorder.got).toHaveLength(3 + 3 * 2)
  })

  it('leaves a batch that waits for room', async ({ expect }) => {
    const { consumer, rejoin, full } = setup(undefined, 1)
    await full(0)
    const waiting = consumer.batch(0, 10, 10)
    await ticks()
    void rejoin()
    await waiting
    expect(consumer.resolved).toEqual(['0:9'])
  })

  it('lets kafkajs join although the records of the last batch still wait', async ({ expect }) => {
    const { consumer, opened, rejoin } = setup(undefined, 1)
    await opened(0)
    const taken = consumer.batch(0, 0, 10)
    await ticks()
    void rejoin()
    await taken
    expect(consumer.resolved).toEqual(['0:9'])
  })

  it('continues without a join when the coordinator reverses its decision', async ({ expect }) => {
    const { clock, consumer, recorder, opened } = setup()
    await opened(0)
    await consumer.batch(0, 0, 1)
    consumer.heartbeat = () => Promise.reject(Object.assign(new Error(), { type: 'NOT_COORDINATOR_FOR_GROUP' }))
    clock.advance(500)
    await ticks()
    await consumer.batch(0, 1, 1)
    expect([recorder.got.length, consumer.resolved]).toEqual([1, ['0:0']])
    consumer.emit('consumer.heartbeat')
    await consumer.batch(0, 1, 1)
    expect([recorder.got.length, consumer.resolved]).toEqual([2, ['0:0', '0:1']])
  })

  it('withdraws at once when the group has expelled this member', async ({ expect }) => {
    const { clock, consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 1)
    consumer.heartbeat = () => Promise.reject(Object.assign(new Error(), { type: 'UNKNOWN_MEMBER_ID' }))
    const joining = rejoin()
    clock.advance(500)
    await ticks()
    expect(recorder.got[0]?.signal.aborted).toBe(true)
    await joining
    expect(recorder.losses).toEqual([])
  })

  it('leaves a batch that waits for room when the group has expelled this member, so that kafkajs can join anew', async ({
    expect,
  }) => {
    const { clock, consumer, full } = setup(undefined, 1)
    await full(0)
    let isLeft = false
    const waiting = consumer.batch(0, 10, 10).then(() => (isLeft = true))
    consumer.heartbeat = () => Promise.reject(Object.assign(new Error(), { type: 'UNKNOWN_MEMBER_ID' }))
    clock.advance(500)
    await ticks()
    expect([isLeft, consumer.resolved]).toEqual([true, ['0:9']])
    await waiting
  })

  it.for(['ILLEGAL_GENERATION', 'REBALANCE_IN_PROGRESS'])(
    'continues to fetch although an earlier heartbeat is answered after it: %s',
    async (type, { expect }) => {
      const { clock, consumer, recorder, opened, rejoin } = setup()
      await opened(0)
      await consumer.batch(0, 0, 1)
      recorder.got[0]?.ack()
      await rejoin()
      const answer = Promise.withResolvers<void>()
      consumer.heartbeat = () => answer.promise
      clock.advance(500)
      consumer.join(0)
      answer.reject(Object.assign(new Error(), { type }))
      await ticks()
      await consumer.batch(0, 1, 1)
      expect([recorder.got.length, consumer.resolved]).toEqual([2, ['0:0', '0:1']])
    },
  )

  it('drops a batch fetched before it, which would skip the returned messages', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 10)
    recorder.got[0]?.ack()
    const joining = rejoin()
    for (const delivery of recorder.got) delivery.release()
    await joining
    consumer.join(0)
    await consumer.batch(0, 10, 5)
    expect([recorder.got.length, consumer.resolved]).toEqual([10, ['0:9']])
    await consumer.batch(0, 1, 9)
    expect([recorder.got.length, consumer.resolved]).toEqual([19, ['0:9', '0:9']])
    await consumer.batch(0, 10, 5)
    expect(recorder.got).toHaveLength(24)
  })
})

describe('a pause', () => {
  it('leaves batches where they are', async ({ expect }) => {
    const { consumer, recorder, subscription, opened } = setup()
    await opened(0)
    subscription.pause()
    await consumer.batch(0, 0, 3)
    expect([recorder.got.length, consumer.resolved]).toEqual([0, []])
    subscription.resume()
    await consumer.batch(0, 0, 3)
    expect(recorder.got).toHaveLength(3)
  })

  it('holds fetched messages', async ({ expect }) => {
    const { consumer, recorder, subscription, opened } = setup(undefined, 1)
    await opened(0)
    const taken = consumer.batch(0, 0, 3)
    await ticks()
    subscription.pause()
    await taken
    recorder.got[0]?.ack()
    expect(recorder.got).toHaveLength(1)
    subscription.resume()
    expect(recorder.got).toHaveLength(2)
  })
})

describe('a subscription without a group', () => {
  it('begins at its configured position, continues after its lowest unfinished message, and commits nothing', async ({
    expect,
  }) => {
    const { clock, consumer, recorder, opened, rejoin } = setup(new Map([[0, 100]]))
    await opened(0, 1)
    expect(consumer.seeks).toEqual(['0:100', '1:0'])
    await consumer.batch(0, 100, 5)
    for (const i of [0, 1]) recorder.got[i]?.ack()
    const joining = rejoin()
    for (const delivery of recorder.got) delivery.release()
    await joining
    consumer.join(0, 1)
    expect(consumer.seeks.slice(2)).toEqual(['0:102', '1:0'])
    clock.advance(1_000)
    await ticks()
    expect(consumer.committed).toEqual([])
  })
})
