/** Badly timed rebalances of kafkajs, played by a scripted consumer. */
import { describe, it } from 'vitest'
import { range } from '../kit.ts'
import { expelled, OFFSET_OUT_OF_RANGE, setup, ticks } from './scripted-subscription.ts'

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

  it('commits once more when the last commit fails', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 1)
    recorder.got[0]?.ack()
    let fails = true
    consumer.commit = async () => {
      const failed = fails
      fails = false
      if (failed) throw new Error('away')
    }
    await rejoin()
    expect(consumer.committed).toEqual(['0:1', '0:1'])
  })

  it.for(['a join', 'the end'] as const)(
    'commits nothing with %s once the group has expelled this member',
    async (next, { expect }) => {
      const { clock, consumer, recorder, subscription, opened, rejoin } = setup()
      await opened(0)
      await consumer.batch(0, 0, 1)
      consumer.commit = () => Promise.reject(new Error('away'))
      recorder.got[0]?.ack()
      consumer.heartbeat = expelled
      clock.advance(500)
      await ticks()
      const before = [...consumer.committed]
      await (next === 'a join' ? rejoin() : subscription.close())
      expect(consumer.committed).toEqual(before)
    },
  )

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
    expect(recorder.got).toHaveLength(3 + 2)
  })

  it('lets kafkajs join at once when the binding is paused, though a gap is left', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 2)
    recorder.got[1]?.ack()
    recorder.onRecall = () => recorder.got.at(-1)?.release()
    recorder.got[0]?.release()
    recorder.held = true
    await rejoin()
    expect([recorder.got.length, recorder.recalls, consumer.committed]).toEqual([3, 2, []])
  })

  it('lets kafkajs join within 1 s when the circuit opens before a handler has begun a gap', async ({ expect }) => {
    const { clock, consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 2)
    recorder.got[1]?.ack()
    recorder.got[0]?.release()
    const joining = rejoin()
    await ticks()
    recorder.onRecall = () => recorder.got.at(-1)?.release()
    recorder.held = true
    clock.advance(1_000)
    await joining
    expect([recorder.got.length, recorder.recalls, consumer.committed]).toEqual([3, 2, []])
  })

  it('waits for a gap that a handler begins late, as in a batch, and lends what was left behind it', async ({
    expect,
  }) => {
    const { clock, consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 3)
    const joining = rejoin()
    recorder.got[2]?.ack()
    for (const i of [0, 1]) recorder.got[i]?.release()
    await ticks()
    for (let s = 0; s < 2; s++) {
      clock.advance(1_000)
      await ticks()
    }
    expect([recorder.got.length, recorder.recalls]).toEqual([5, 1])
    recorder.got[4]?.release()
    recorder.got[3]?.ack()
    await ticks()
    recorder.got[5]?.ack()
    await joining
    expect(consumer.committed.at(-1)).toBe('0:3')
  })

  it('lends nothing new while it hands over, though a heartbeat is answered', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup(undefined, 1)
    await opened(0)
    await consumer.batch(0, 0, 3)
    const joining = rejoin()
    await ticks()
    consumer.emit('consumer.heartbeat')
    recorder.got[0]?.ack()
    await joining
    expect(recorder.got).toHaveLength(1)
  })

  it('reports no loss of what another member has read meanwhile', async ({ expect }) => {
    const { consumer, recorder, opened, fetched, rejoin } = setup()
    const told: string[] = []
    recorder.displaced = ({ reason }) => told.push(reason)
    await opened(0)
    fetched(0, 5, OFFSET_OUT_OF_RANGE)
    await rejoin()
    consumer.join(0)
    fetched(0, 60, 0)
    expect(told).toEqual([])
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

  it('waits also for the handlers of an assignment that another join has begun meanwhile, and commits their messages', async ({
    expect,
  }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    const answer = Promise.withResolvers<void>()
    await opened(0)
    await consumer.batch(0, 0, 1)
    consumer.commit = () => answer.promise
    recorder.got[0]?.ack()
    let joins = false
    const joining = rejoin().then(() => (joins = true))
    await ticks()
    consumer.join(0)
    await consumer.batch(0, 1, 2)
    answer.resolve()
    await ticks()
    expect([joins, recorder.got.length]).toEqual([false, 3])
    for (const i of [1, 2]) recorder.got[i]?.ack()
    await joining
    expect(consumer.committed.at(-1)).toBe('0:3')
  })

  it('commits what an assignment settled that another join has begun meanwhile', async ({ expect }) => {
    const { consumer, recorder, opened, rejoin } = setup()
    const answer = Promise.withResolvers<void>()
    await opened(0)
    await consumer.batch(0, 0, 1)
    consumer.commit = () => answer.promise
    recorder.got[0]?.ack()
    const joining = rejoin()
    await ticks()
    consumer.join(0)
    await consumer.batch(0, 1, 2)
    for (const i of [1, 2]) recorder.got[i]?.ack()
    answer.resolve()
    await joining
    expect(consumer.committed.at(-1)).toBe('0:3')
  })

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

  it('drops a batch fetched before the group expelled this member, which would skip unsettled messages', async ({
    expect,
  }) => {
    const { clock, consumer, recorder, opened, rejoin } = setup()
    await opened(0)
    await consumer.batch(0, 0, 10)
    consumer.heartbeat = expelled
    clock.advance(500)
    await ticks()
    consumer.heartbeat = () => Promise.resolve()
    await rejoin()
    consumer.join(0)
    await consumer.batch(0, 10, 5)
    expect([recorder.got.length, consumer.resolved]).toEqual([10, ['0:9']])
    await consumer.batch(0, 0, 10)
    expect([recorder.got.length, consumer.resolved]).toEqual([20, ['0:9', '0:9']])
  })
})
