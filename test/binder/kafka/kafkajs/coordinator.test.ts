import { silentLogger } from 'concordat/core'
import { expect, it } from 'vitest'
import { FakeClock } from '../fake-clock.ts'
import { gatedAssigner, type KafkaClient, KafkaSubscription, resolveKafkaOptions } from '../inside.ts'
import { Recorder } from '../kit.ts'

const ready = (): Promise<void> => Promise.resolve()
const ticks = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('a coordinator that is not found for longer than a join may take ends the subscription: the next one connects anew', async () => {
  const clock = new FakeClock()
  const consumer: ReturnType<KafkaClient['consumer']> = {
    connect: ready,
    disconnect: ready,
    subscribe: ready,
    describeGroup: () => Promise.resolve({ state: 'Empty' }),
    run: ready,
    seek: () => {},
    pause: () => {},
    resume: () => {},
    on: () => {},
  }
  let looked = 0
  const cluster = {
    findTopicPartitionMetadata: () => [],
    findGroupCoordinator: async (_group: unknown): Promise<unknown> => {
      looked++
      // Each lookup tries all brokers several times.
      clock.advance(4_000)
      await ticks()
      throw Object.assign(new Error('Failed to find group coordinator'), { name: 'KafkaJSGroupCoordinatorNotFound' })
    },
  }
  const kafka = { producer: () => consumer, admin: () => consumer, consumer: () => consumer } as never
  const options = resolveKafkaOptions({ kafka, rebalanceTimeoutMs: 6_000, connectTimeoutMs: 5_000 })
  const subscription = new KafkaSubscription(
    { topic: 't', groupId: 'g.t', partitions: 4, prefetch: 10, prefetchBytes: 1_000_000, startAt: undefined },
    {
      options,
      clock,
      logger: silentLogger,
      createConsumer: (_spec, { beforeJoin }) => {
        gatedAssigner(clock, beforeJoin)({ cluster })
        return consumer
      },
      onAnswer: () => {},
      onEnd: ready,
    },
    Recorder.keeping(),
  )
  const opening = subscription.open().catch((error: unknown) => error)
  await ticks()
  await expect(cluster.findGroupCoordinator({})).rejects.toMatchObject({ code: 'binder.kafka.join_refused' })
  expect(String(await opening)).toMatch(/the group was not joined for \d+ ms/)
  expect(looked).toBeLessThan(6)
})
