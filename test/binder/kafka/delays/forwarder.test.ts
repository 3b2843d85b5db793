import { type EncodedMessage, TransportError } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import type { PublishOutcome, Receiver } from 'concordat/extension'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Displacement, Stall } from '../../../support/inside/binder.ts'
import { drain, FakeClock } from '../../../support/locks/fake-clock.ts'
import { Forwarder, toDelayed } from '../inside.ts'
import { plainMessage, range } from '../kit.ts'

/** @param denied the broker says no while it is set */
async function setup(denied: { error?: Error; afterMs?: number } = {}) {
  const clock = new FakeClock()
  const start = clock.now()
  const published: Array<readonly [string, number]> = []
  const log: string[] = []
  const receivers: Receiver[] = []
  let answer: (messages: readonly EncodedMessage[]) => Promise<readonly PublishOutcome[]> = (messages) =>
    Promise.resolve(messages.map(() => undefined))
  const warned: string[] = []
  const warn = (_fields: object, message: string): void => void warned.push(message)
  const logger = { ...silentLogger, warn, error: warn }
  const told: Array<Stall | undefined> = []
  const displaced: Displacement[] = []
  const forwarder = new Forwarder('orders', {
    clock,
    logger,
    isNeeded: () => true,
    stalled: (stall) => void told.push(stall),
    displaced: (each) => void displaced.push(each),
    subscribe: (topic, receiver) => {
      expect(topic).toBe('orders.delay')
      const { error, afterMs } = denied
      if (error !== undefined && afterMs === undefined) return Promise.reject(error)
      if (error !== undefined) return clock.sleep(afterMs ?? 0).then(() => Promise.reject(error))
      receivers.push(receiver)
      return Promise.resolve({ pause() {}, resume() {}, close: () => Promise.resolve(void log.push('left')) })
    },
    publish: (messages) => {
      for (const { id } of messages) published.push([id, clock.now() - start])
      return answer(messages)
    },
  })
  onTestFinished(() => forwarder.close())
  await drain()
  const loan = new AbortController()
  /** @param aheadMs of the sender's clock */
  const lend = (id: string, delayMs: number, aheadMs = 0): void => {
    const now = clock.now() + aheadMs
    const { message, tier } = toDelayed(plainMessage({ id, destination: 'orders', notBefore: now + delayMs }), now)
    receivers.at(-1)?.deliver({
      message,
      position: `partition ${tier} offset 7`,
      redelivered: undefined,
      signal: loan.signal,
      ack: () => void log.push(`ack ${id}`),
      release: () => void log.push(`release ${id}`),
    })
  }
  return {
    warned,
    told,
    displaced,
    clock,
    forwarder,
    published,
    log,
    receivers,
    lend,
    loan,
    answers: (next: typeof answer) => (answer = next),
  }
}

describe('a forwarder', () => {
  it('publishes each when it leaves its tier, and settles it then', async () => {
    const t = await setup()
    t.lend('in 700', 700)
    t.lend('in 300', 300)
    t.lend('hop at 2000', 2_500)
    await t.clock.advance(299)
    expect(t.published).toEqual([])
    await t.clock.advance(2_000)
    expect(t.published.map(([id]) => id)).toEqual(['in 300', 'in 700', 'hop at 2000'])
    expect(t.published.every(([id, at]) => at >= Number(/\d+/.exec(id)?.[0]))).toBe(true)
    expect(t.log).toEqual(['ack in 300', 'ack in 700', 'ack hop at 2000'])
  })

  it('moves a message due at once before one that is due much later', async () => {
    const t = await setup()
    t.lend('later', 300_000)
    await t.clock.advance(61_000)
    t.lend('soon', 100)
    await t.clock.advance(1_000)
    expect(t.published.map(([id]) => id)).toEqual(['soon'])
  })

  it('holds a message for no longer than its tier does, with any clock of its sender', async () => {
    const t = await setup()
    t.lend('from a clock that is 50 minutes ahead', 5_000, 3_000_000)
    await t.clock.advance(4_900)
    expect(t.published).toEqual([])
    await t.clock.advance(1_200)
    expect(t.log).toEqual(['ack from a clock that is 50 minutes ahead'])
  })

  it('continues after a recall during a wake-up without due messages', async () => {
    const t = await setup()
    t.lend('withdrawn', 300_000)
    await t.clock.advance(61_000)
    t.receivers.at(-1)?.recall?.()
    expect(t.log).toEqual(['release withdrawn'])
    t.lend('soon', 100)
    await t.clock.advance(120_000)
    expect(t.published.map(([id]) => id)).toEqual(['soon'])
  })

  it('settles a message only after its confirm', async () => {
    const t = await setup()
    const confirm = Promise.withResolvers<readonly PublishOutcome[]>()
    t.answers(() => confirm.promise)
    t.lend('a', 100)
    await t.clock.advance(5_000)
    expect(t.published.map(([id]) => id)).toEqual(['a'])
    expect(t.log).toEqual([])
    confirm.resolve([undefined])
    await drain()
    expect(t.log).toEqual(['ack a'])
  })

  it('leaves a message that was withdrawn to the process that has its partition now', async () => {
    const t = await setup()
    t.lend('a', 1_000)
    t.loan.abort()
    await t.clock.advance(5_000)
    expect([t.published, t.log]).toEqual([[], []])
  })

  it('repeats a refused message without blocking the others', async () => {
    const t = await setup()
    let refusals = 2
    const away = new TransportError({ transport: 'kafka', kind: 'unavailable', message: 'away' })
    t.answers((messages) =>
      Promise.resolve(messages.map(({ id }) => (id === 'a' && refusals-- > 0 ? away : undefined))),
    )
    t.lend('a', 100)
    t.lend('b', 100)
    await t.clock.advance(5_000)
    expect(t.log).toEqual(['ack b', 'ack a'])
    expect(t.published.map(([id]) => id)).toEqual(['a', 'b', 'a', 'a'])
  })

  it('returns waiting messages when the group rebalances and when it closes', async () => {
    const t = await setup()
    t.lend('a', 100)
    t.receivers[0]?.recall()
    expect(t.log).toEqual(['release a'])
    t.lend('b', 60_000)
    await t.forwarder.close()
    expect(t.log).toEqual(['release a', 'release b', 'left'])
    await t.clock.advance(120_000)
    expect(t.published).toEqual([])
  })

  it('rejoins after a loss, and forgets the messages it held', async () => {
    const t = await setup()
    t.lend('a', 100)
    t.loan.abort(new Error('lost'))
    t.receivers[0]?.lost(new Error('lost'))
    await t.clock.advance(10_000)
    expect(t.receivers).toHaveLength(2)
    expect(t.published).toEqual([])
  })

  const DENIED = new TransportError({ transport: 'kafka', kind: 'refused', message: 'Not authorized' })

  it('reports that it may not join its group, with a warning at first and then once a minute, until it has joined', async () => {
    const denied: { error?: Error } = { error: DENIED }
    const t = await setup(denied)
    expect(t.warned).toEqual(['delayed messages wait'])
    expect(t.told.at(-1)).toMatchObject({ isPassing: false })
    expect(t.told.at(-1)?.reason.message).toMatch(/"orders.delay".*"concordat.orders.delay": Not authorized/)
    for (let second = 0; second < 130; second++) await t.clock.advance(1_000)
    expect(t.warned).toHaveLength(3)
    delete denied.error
    for (let second = 0; second < 20; second++) await t.clock.advance(1_000)
    expect(t.told.at(-1)).toBeUndefined()
  })

  it('ignores a broker that is down for a moment, and reports the cause after half a minute', async () => {
    const away = {
      afterMs: 12_000,
      error: new TransportError({ transport: 'kafka', kind: 'unavailable', message: 'no coordinator' }),
    }
    const t = await setup(away)
    for (let second = 0; second < 25; second++) await t.clock.advance(1_000)
    expect(t.told).toEqual([])
    expect(t.warned).toEqual([])
    for (let second = 0; second < 45; second++) await t.clock.advance(1_000)
    expect(t.told.at(-1)?.reason.message).toContain('no coordinator')
    expect(t.warned).toHaveLength(1)
    const closing = t.forwarder.close()
    await t.clock.advance(12_000)
    await closing
  })

  it('passes on and logs the subscription’s blocks and losses', async () => {
    const t = await setup()
    const reason = new TransportError({ transport: 'kafka', kind: 'refused', message: 'offset 3 cannot be read' })
    t.receivers[0]?.stalled?.({ reason, isPassing: false })
    expect(t.told).toMatchObject([{ isPassing: false, reason: { cause: reason } }])
    t.receivers[0]?.stalled?.(undefined)
    expect(t.told.at(-1)).toBeUndefined()
    const loss = { reason: 'deleted', skipped: 3, repeated: 0, isLoss: true }
    t.receivers[0]?.displaced?.(loss)
    expect(t.displaced).toEqual([loss])
    expect(t.warned).toEqual(['delayed messages wait', 'delayed messages are lost: deleted'])
  })

  it('reports that it may not write due messages, until it may', async () => {
    const t = await setup()
    let isDenied = true
    t.answers((messages) => Promise.resolve(messages.map(() => (isDenied ? DENIED : undefined))))
    t.lend('a', 100)
    for (let second = 0; second < 5; second++) await t.clock.advance(1_000)
    expect(t.told.at(-1)).toMatchObject({ isPassing: false })
    expect(t.warned).toEqual(['delayed messages wait'])
    isDenied = false
    for (let second = 0; second < 2; second++) await t.clock.advance(1_000)
    expect(t.log).toEqual(['ack a'])
    expect(t.told.at(-1)).toBeUndefined()
  })

  it.for(['refused', 'too_large', 'unroutable', 'mismatch'] as const)(
    'reports a message that its destination does not take, %s, for as long as it waits, while others go on',
    async (kind) => {
      const t = await setup()
      const no = new TransportError({ transport: 'kafka', kind, message: 'never' })
      let isTaken = false
      t.answers((messages) => Promise.resolve(messages.map(({ id }) => (id === 'a' && !isTaken ? no : undefined))))
      t.lend('a', 100)
      for (let second = 0; second < 65; second++) {
        t.lend('b', 300)
        await t.clock.advance(1_000)
        expect(t.told.at(-1)).toMatchObject({ isPassing: false, reason: { cause: no } })
      }
      expect(t.log).toEqual(range(65).map(() => 'ack b'))
      expect(t.warned.filter((each) => each.includes('its destination'))).toHaveLength(no.retryable ? 0 : 1)
      isTaken = true
      for (let second = 0; second < 31; second++) await t.clock.advance(1_000)
      expect(t.log.at(-1)).toBe('ack a')
      expect(t.told.at(-1)).toBeUndefined()
    },
  )
})
