import { createBinder } from 'concordat/binder'
import { type Clock, systemClock } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Instance, Ping, SECRET } from '../conformance/bus-kit.ts'
import type { BusCounters } from '../support/inside/bus.ts'
import { until } from '../support/until.ts'
import { world } from './kit.ts'

const counters = ({ bus }: Instance): BusCounters => bus.health().counters

/** The machine's clock, with its hands elsewhere. */
function skewed(): Clock & { byMs: number } {
  const clock = { ...systemClock, byMs: 0, now: () => systemClock.now() + clock.byMs }
  return clock
}

type Overheard = Parameters<ReturnType<typeof createBinder>['publish']>[0][number]

/** A program that records the announcements of instances and can replay them. */
async function overhearing(own: Transport) {
  const thief = createBinder({ service: 'thief', transport: own })
  onTestFinished(() => thief.close())
  await thief.start()
  const heard: Overheard[] = []
  const spec = {
    destination: 'concordat.bus.presence',
    partitions: 1,
    group: null,
    prefetch: 100,
    prefetchBytes: 1e9,
  }
  await own.subscribe(spec, {
    deliver: (delivery) => {
      heard.push(delivery.message)
      delivery.ack()
    },
    recall: () => {},
    lost: () => {},
  })
  return { thief, heard }
}

describe('on a signed bus', () => {
  it('an instance whose clock was ahead for a moment is heard as soon as it is right, without further help', async () => {
    const { join } = world()
    const clock = skewed()
    const options = { secret: SECRET, heartbeatMs: 100, dedupeMaxEvents: 100 }
    const [a, b] = await Promise.all([join({ instance: 'a', clock, ...options }), join({ instance: 'b', ...options })])
    clock.byMs = 3_600_000
    await a.bus.publish(Ping, { n: -1 }, { to: '**' })
    await until('it has handled its own', () => a.pings.includes(-1))
    clock.byMs = 0
    const both = [a.bus.address, b.bus.address]
    for (let n = 0; n < 150; n++) {
      const answer = await a.bus.publish(Ping, { n }, { to: '**', ackTimeoutMs: 5_000 })
      expect(answer.acked.toSorted()).toEqual(both)
    }
    expect(a.pings).toHaveLength(151)
    expect(await b.bus.members()).toHaveLength(2)
    expect(await b.bus.publish(Ping, { n: 1_000 }, { to: '**', ackTimeoutMs: 5_000 })).toMatchObject({ missing: [] })
  })

  it('an instance whose clock is wrong is down with the reason, until its clock is right', async () => {
    const { join } = world()
    const clock = skewed()
    clock.byMs = -3_600_000
    const options = { secret: SECRET, heartbeatMs: 100 }
    const [, wrong] = await Promise.all([
      join({ instance: 'a', ...options }),
      join({ instance: 'b', clock, ...options }),
    ])
    await until('it is down', () => wrong.bus.health().status === 'down')
    expect(wrong.bus.health().detail).toMatch(
      /refused for their time.*orders:default:a, was 3600 s ahead of the clock here/,
    )
    clock.byMs = 0
    await until('it is up', () => wrong.bus.health().status === 'up')
  })

  it('a sender whose clock is ahead makes no instance miss others, with any number of events', async () => {
    const { join } = world()
    const ahead = skewed()
    ahead.byMs = 40_000
    const [honest, fast, receiver] = await Promise.all([
      join({ instance: 'a', secret: SECRET }),
      join({ instance: 'b', secret: SECRET, clock: ahead }),
      join({ instance: 'c', secret: SECRET, dedupeMaxEvents: 100 }),
    ])
    for (let n = 0; n < 150; n++) await fast.bus.publish(Ping, { n }, { to: 'orders:*:c' })
    await until('all came', () => receiver.pings.length === 150)
    const answer = await honest.bus.publish(Ping, { n: 1_000 }, { to: 'orders:*:c', ackTimeoutMs: 5_000 })
    expect(answer).toMatchObject({ acked: [receiver.bus.address], missing: [] })
    expect(counters(receiver).dropped.stale).toBe(0)
  })

  it('an event is not handled again because the clock of the receiver was set back', async () => {
    const { join, intruder } = world()
    const clock = skewed()
    const [sender, receiver, thief] = await Promise.all([
      join({ instance: 'a', secret: SECRET, maxSkewMs: 300, dedupeWindowMs: 600 }),
      join({ instance: 'b', secret: SECRET, maxSkewMs: 300, dedupeWindowMs: 600, clock }),
      intruder(),
    ])
    await sender.bus.publish(Ping, { n: 1 }, { to: 'orders:*:b', ackTimeoutMs: 5_000 })
    const [genuine] = thief.heard
    if (genuine === undefined) throw new Error('nothing was heard')
    await until('it is forgotten', () => Date.now() - genuine.time > 700)
    clock.byMs = genuine.time - Date.now()
    const before = counters(receiver).dropped.stale
    const { id, time, body, headers } = genuine
    await thief.send(headers, { id, time, body })
    await until('it was stale', () => counters(receiver).dropped.stale > before)
    expect(receiver.pings).toEqual([1])
  })

  it('an instance that was restarted with its address is up while its earlier events are replayed', async () => {
    const { join, transport } = world()
    const { thief, heard } = await overhearing(transport())
    const before = await join({ instance: 'a', secret: SECRET })
    await until('it was overheard', () => heard.length > 0)
    await before.bus.close()
    const { bus } = await join({ instance: 'a', secret: SECRET })
    const played = heard.filter(({ headers }) => headers['bus-presence'] !== 'left')
    expect(await thief.publish(played)).toEqual(played.map(() => undefined))
    await join({ instance: 'b', secret: SECRET })
    await until('what came after it is heard', async () =>
      (await bus.members()).some(({ instance }) => instance === 'b'),
    )
    expect(bus.health()).toMatchObject({ status: 'up' })
  })

  it('a replayed announcement does not bring back an instance that left', async () => {
    const { join, transport } = world()
    const { thief, heard } = await overhearing(transport())
    const a = await join({ instance: 'a', secret: SECRET })
    const b = await join({ instance: 'b', secret: SECRET })
    await until('they know each other', async () => (await a.bus.members()).some(({ instance }) => instance === 'b'))
    const isHere = ({ headers }: (typeof heard)[number]): boolean =>
      headers['bus-from'] === b.bus.address && headers['bus-presence'] !== 'left'
    await until('it was overheard', () => heard.some(isHere))
    await b.bus.close()
    await until('it has left', async () => (await a.bus.members()).every(({ instance }) => instance !== 'b'))
    const count = heard.length
    const [problem] = await thief.publish([heard.findLast(isHere) as (typeof heard)[number]])
    expect(problem).toBeUndefined()
    await until('it came, and one more', () => heard.length > count + 1)
    expect((await a.bus.members()).map(({ instance }) => instance)).toEqual(['a'])
  })
})

it('a logger that throws neither ends the process nor holds up the events of a sender', async () => {
  const { join } = world()
  const full = (): void => {
    throw new Error('no space left on device')
  }
  const logger = { level: 'info', debug: full, info: full, warn: full, error: full }
  let first = true
  const [sender, receiver] = await Promise.all([
    join({ instance: 'a' }),
    join({
      instance: 'b',
      logger,
      onPing: () => {
        if (!first) return
        first = false
        throw new Error('only once')
      },
    }),
  ])
  const results = []
  for (let n = 0; n < 4; n++) {
    results.push(await sender.bus.publish(Ping, { n }, { to: 'orders:*:b', ackTimeoutMs: 2_000 }))
  }
  expect(results.map(({ acked, failed }) => [acked.length, failed.length])).toEqual([
    [0, 1],
    [1, 0],
    [1, 0],
    [1, 0],
  ])
  expect(counters(receiver)).toMatchObject({ handled: 3, failed: 1 })
})
