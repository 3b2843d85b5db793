import { silentLogger, systemClock } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import type { Displacement } from '../../support/inside/binder.ts'
import { gate } from '../../support/until.ts'
import { Recorder } from '../rabbitmq/kit.ts'
import { Subscriber, type SubscriberParts } from './inside.ts'

it('a subscription does not join a group after the transport closes, at any step of its start', async () => {
  const looked = gate()
  let members = 0
  const member = {
    open: async () => {},
    ended: async () => {},
    close: async () => {},
    pause: () => {},
    resume: () => {},
  }
  const parts = {
    settings: { groupIds: new Map(), startAt: new Map() },
    link: { admin: {}, createMember: () => (members++, member) },
    topics: { verify: () => looked.opened.then(() => 4) },
    host: { service: 'shop', instance: 'shop-1', logger: silentLogger, clock: systemClock },
    onAnswer: () => {},
  }
  const subscriber = new Subscriber(parts as unknown as SubscriberParts)
  const spec = { destination: 'orders', partitions: 4, group: 'g', prefetch: 10, prefetchBytes: 1_000 }
  const subscribing = subscriber.subscribe(spec, Recorder.keeping())
  await subscriber.close()
  looked.open()
  await expect(subscribing).rejects.toMatchObject({ code: 'binder.transport', kind: 'closed' })
  expect(members).toBe(0)
})

describe('a Kafka group of two groups', () => {
  /** Group ids by channel and group, in the form of the options. */
  const claimed = (
    groupIds: Readonly<Record<string, string>>,
    specs: ReadonlyArray<readonly [string, readonly string[]]>,
  ) => {
    const settings = { groupIds: new Map(Object.entries(groupIds)), startAt: new Map() }
    const subscriber = new Subscriber({ settings, link: { admin: {} } } as unknown as SubscriberParts)
    return () => {
      for (const [name, groups] of specs) subscriber.claim({ name, groups })
    }
  }

  it('is refused when it is the one that another group of the channel has by default', () => {
    expect(claimed({ 'orders:pay': 'stock.orders' }, [['orders', ['stock', 'pay']]])).toThrow(
      'kafka: the group "pay" of "orders" and the group "stock" of "orders" have one Kafka group, "stock.orders": ' +
        'each would get a part of the messages. Give one of them another Kafka group in groupIds.',
    )
  })

  it('is refused when it is the one that a group of another channel has by default', () => {
    const specs = [['a', ['g']] as const, ['b', ['g']] as const]
    expect(claimed({ 'a:g': 'g.b' }, specs)).toThrow('"g.b"')
    expect(claimed({ 'a:g': 'g.b' }, specs.toReversed())).toThrow('"g.b"')
  })

  it('is refused when the names of both groups and channels read the same by default', () => {
    const specs = [['orders', ['placed.stock']] as const, ['stock.orders', ['placed']] as const]
    expect(claimed({}, specs)).toThrow('"placed.stock.orders"')
    expect(claimed({ 'orders:placed.stock': 'stock-1' }, specs)).not.toThrow()
  })

  it('is refused to a subscription of a channel that was not provisioned', async () => {
    const settings = { groupIds: new Map([['orders:pay', 'stock.orders']]), startAt: new Map() }
    const parts = { settings, link: { admin: {} } } as unknown as SubscriberParts
    const subscriber = new Subscriber(parts)
    subscriber.claim({ name: 'orders', groups: ['stock'] })
    const spec = { destination: 'orders', partitions: 1, group: 'pay', prefetch: 10, prefetchBytes: 1_000 }
    await expect(subscriber.subscribe(spec, Recorder.keeping())).rejects.toMatchObject({ kind: 'mismatch' })
  })

  it('leaves groups alone that are named again, or have names of their own', () => {
    const specs = [['orders', ['stock', 'pay']] as const, ['orders', ['pay']] as const]
    expect(claimed({ 'orders:pay': 'pay' }, specs)).not.toThrow()
  })
})

describe('a group that begins on a topic with records', () => {
  /** @param committed Kafka groups with offsets on it; an error is the broker's answer about them */
  function setup(committed: Record<string, Error | true>, groupIds: ReadonlyMap<string, string>, created = false) {
    const admin = {
      committed: async (groupId: string) => {
        const found = committed[groupId]
        if (found instanceof Error) throw found
        return new Map(found === true ? [[0, 150]] : [])
      },
      ranges: async () => [{ partition: 0, low: 0, high: 300 }],
    }
    const member = { open: async () => {}, ended: async () => {} }
    const parts = {
      settings: { groupIds, startAt: new Map() },
      link: {
        admin: { use: (_: string, work: (its: typeof admin) => unknown) => work(admin) },
        createMember: () => member,
      },
      topics: { verify: async () => 1, takeCreated: () => created },
      host: { service: 'shop', instance: 'shop-1', logger: silentLogger, clock: systemClock },
      onAnswer: () => {},
    }
    const told: Displacement[] = []
    const displaced = (each: Displacement): void => void told.push(each)
    const receiver = Object.assign(Recorder.keeping(), { displaced })
    const subscriber = new Subscriber(parts as unknown as SubscriberParts)
    const spec = { destination: 'orders', partitions: 1, group: 'billing', prefetch: 10, prefetchBytes: 1_000 }
    return {
      told,
      subscribe: () => subscriber.subscribe(spec, receiver),
      forward: () => subscriber.subscribeTiers('orders.delay', receiver),
    }
  }
  async function begun(...args: Parameters<typeof setup>) {
    const { told, subscribe } = setup(...args)
    await subscribe()
    return told.map(({ reason, repeated }) => ({ repeated, reason }))
  }
  const none = new Map<string, string>()
  const remedy = "groupIds: { 'orders': { 'billing': 'billing' } }"

  it('names groupIds when a Kafka group of its plain name has offsets there', async () => {
    expect(await begun({ billing: true }, none)).toEqual([{ repeated: 300, reason: expect.stringContaining(remedy) }])
  })

  it.for([
    ['no other group has offsets there', {}],
    ['it may not ask about the other group', { billing: new Error('GROUP_AUTHORIZATION_FAILED') }],
  ] as const)('reports that it is new when %s', async ([, committed], { expect }) => {
    expect(await begun(committed, none)).toEqual([{ repeated: 300, reason: expect.stringContaining('it is new') }])
  })

  it('reports that it is new when it forwards delayed messages, which it may have forwarded before', async () => {
    const { told, forward } = setup({}, none)
    await forward()
    const reason = expect.stringContaining('group "concordat.orders.delay" has no committed offset on "orders.delay"')
    expect(told).toEqual([{ reason, skipped: 0, repeated: 300, isLoss: false }])
    const placed = setup({ 'concordat.orders.delay': true }, none)
    await placed.forward()
    expect(placed.told).toEqual([])
  })

  it('is silent when it forwards delayed messages of a topic that this process has created', async () => {
    const { told, forward } = setup({}, none, true)
    await forward()
    expect(told).toEqual([])
  })

  it('is reported once, however often it connects again before its first commit, and again when its offsets are lost', async () => {
    const committed: Record<string, Error | true> = {}
    const { told, subscribe, forward } = setup(committed, none)
    for (let n = 0; n < 3; n++) await subscribe()
    expect(told).toHaveLength(1)
    for (let n = 0; n < 3; n++) await forward()
    expect(told).toHaveLength(2)
    committed['billing.orders'] = true
    await subscribe()
    delete committed['billing.orders']
    await subscribe()
    expect(told).toHaveLength(3)
  })

  it('is silent when it continues at the offsets of another program', async () => {
    expect(await begun({ billing: true }, new Map([['orders:billing', 'billing']]))).toEqual([])
  })
})
