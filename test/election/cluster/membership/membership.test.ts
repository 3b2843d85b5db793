import { memoryStateStore } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import type { BeatReply } from '../../../support/inside/election.ts'
import { away, close, joined, setup } from './support/scripted-member.ts'

describe('the membership of an instance', () => {
  it('is over as soon as the clocks reach its end, after a stall in which no timer fired', async () => {
    const { membership, presence, clock } = await joined()
    clock.stall(2_999)
    expect(membership.self()).toBe(presence)
    clock.stall(1)
    expect(membership.self()).toBeUndefined()
    expect(membership.status().state).toBe('isolated')
    expect(presence.signal.aborted).toBe(false)
    expect(() => presence.assertValid()).toThrow(expect.objectContaining({ code: 'cluster.member_isolated' }))
    await close(membership, clock)
  })

  it('is over after a suspend, which the monotonic clock does not see', async () => {
    const { membership, presence, clock } = await joined()
    clock.suspend(60_000)
    expect(membership.self()).toBeUndefined()
    expect(() => presence.assertValid()).toThrow(expect.objectContaining({ code: 'cluster.member_isolated' }))
    await close(membership, clock)
  })

  it('is not over because the wall clock was set back', async () => {
    const { membership, presence, clock } = await joined()
    clock.suspend(-3_600_000)
    presence.assertValid()
    expect(membership.self()).toBe(presence)
    await close(membership, clock)
  })

  it('counts from before the heartbeat was sent, not from its answer', async () => {
    const { membership, presence, clock, instead, inner } = await joined()
    instead.beat = async (...args: never[]) => {
      await clock.sleep(900)
      return (inner.beat as (...values: never[]) => Promise<BeatReply>)(...args)
    }
    await clock.advance(2_000)
    // Sent at 1 000, answered at 1 900: good until 4 000.
    instead.beat = () => Promise.reject(away())
    await clock.advance(1_999)
    expect(membership.self()).toBe(presence)
    await clock.advance(1)
    expect(membership.self()).toBeUndefined()
    await close(membership, clock)
  })

  it('aborts its signal by its own timer while a heartbeat hangs', async () => {
    const { membership, presence, clock, instead, heard } = await joined()
    instead.beat = () => new Promise(() => {})
    await clock.advance(2_999)
    expect(presence.signal.aborted).toBe(false)
    await clock.advance(1)
    expect(presence.signal.aborted).toBe(true)
    expect(heard.map(({ type }) => type)).toEqual(['joined', 'isolated'])
    expect(membership.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('isolated') })
  })

  it('a doubtful presence is a new one when it is confirmed again, of the same generation', async () => {
    const { membership, presence, clock, instead, heard } = await joined()
    instead.beat = () => Promise.reject(away())
    await clock.advance(4_000)
    delete instead.beat
    await clock.advance(300)
    const next = membership.self()
    expect(next).not.toBe(presence)
    expect(next?.generation).toBe(presence.generation)
    expect(presence.signal.aborted).toBe(true)
    expect(next?.signal.aborted).toBe(false)
    expect(heard.map(({ type }) => type)).toEqual(['joined', 'isolated', 'recovered'])
    await close(membership, clock)
  })
})

describe('the heartbeat', () => {
  it('comes every heartbeatMs, sooner after a failure, one at a time', async () => {
    const { membership, clock, count, instead } = await joined()
    await clock.advance(5_000)
    expect(count('beat')).toBe(5)
    instead.beat = () => Promise.reject(away('not_done'))
    await clock.advance(2_000)
    expect(count('beat')).toBe(5 + 5)
    expect(membership.status().error).toContain('no answer')
    delete instead.beat
    await clock.advance(250)
    expect(membership.status()).toMatchObject({ state: 'alive', error: undefined })
    await close(membership, clock)
  })

  it('continues when a subscriber throws', async () => {
    const { membership, clock, count } = setup()
    membership.subscribe(() => {
      throw new Error('mine')
    })
    await membership.join()
    await clock.advance(3_000)
    expect(count('beat')).toBe(3)
    await close(membership, clock)
  })

  it('carries metadata that could not be sent when it was given', async () => {
    const { membership, clock, instead } = await joined()
    instead.describe = () => Promise.reject(away())
    await expect(membership.update({ n: 1 })).rejects.toMatchObject({ outcome: 'unknown' })
    delete instead.describe
    await clock.advance(1_000)
    expect(membership.members()[0]?.meta).toEqual({ n: 1 })
    await close(membership, clock)
  })
})

describe('joining', () => {
  it('is tried again under the same id, so that a lost answer makes no second generation', async () => {
    const { membership, clock, instead, inner, calls } = setup()
    const replies: unknown[] = []
    instead.join = async (...args: never[]) => {
      const reply = await (inner.join as (...values: never[]) => Promise<unknown>)(...args)
      replies.push(reply)
      if (replies.length < 3) throw away()
      return reply
    }
    const joining = membership.join()
    await clock.advance(2_000)
    const { generation } = await joining
    expect(replies.map((reply) => (reply as { generation: number }).generation)).toEqual([
      generation,
      generation,
      generation,
    ])
    const ids = calls.filter(([name]) => name === 'join').map(([, request]) => (request as { joinId: string }).joinId)
    expect(new Set(ids).size).toBe(1)
    await close(membership, clock)
  })

  it('a join that is given up while its outcome is unknown is refused when it arrives late', async () => {
    const { membership, clock, instead, inner, store } = setup()
    let arrive: () => Promise<unknown> = async () => undefined
    instead.join = async (...args: never[]) => {
      arrive = () => (inner.join as (...values: never[]) => Promise<unknown>)(...args)
      throw away()
    }
    const joining = membership.join().catch((error: unknown) => error)
    await clock.advance(100)
    const leaving = membership.leave()
    await clock.advance(2_000)
    await leaving
    expect(await joining).toMatchObject({ code: 'cluster.member_evicted', reason: 'left' })
    expect(await arrive()).toEqual({ status: 'given_up' })
    expect((await store.members('c')).records).toEqual([])
    await close(membership, clock)
  })

  it('uses metadata given during the join', async () => {
    const { membership, clock, instead, inner } = setup()
    instead.join = async (...args: never[]) => {
      await clock.sleep(500)
      return (inner.join as (...values: never[]) => Promise<unknown>)(...args)
    }
    const joining = membership.join()
    await clock.advance(100)
    await membership.update({ n: 7 })
    await clock.advance(600)
    await joining
    await clock.advance(1_000)
    expect(membership.members()[0]?.meta).toEqual({ n: 7 })
    await close(membership, clock)
  })
})

describe('a listener', () => {
  it('that joins again as soon as it hears of the end gets a new generation', async () => {
    const { membership, clock, presence, server, heard } = await joined({ rejoin: false })
    const again = Promise.withResolvers<number>()
    membership.subscribe((event) => {
      if (event.type === 'evicted') membership.join().then(({ generation }) => again.resolve(generation), again.reject)
    })
    const timing = { suspectAfterMs: 3_000, deadAfterMs: 10_000 }
    const json = '{"service":"s","meta":{}}'
    await memoryStateStore({ server }).join({ cluster: 'c', instance: 'a', joinId: 'other', json, ...timing })
    await clock.advance(1_000)
    expect(await again.promise).toBeGreaterThan(presence.generation)
    expect(heard.map(({ type }) => type)).toEqual(['joined', 'evicted', 'joined'])
    membership.self()?.assertValid()
    await close(membership, clock)
  })

  it('hears of an isolation before the recovery, also when no timer fired in between', async () => {
    const { membership, clock, presence, heard } = await joined()
    clock.stall(5_000)
    await clock.advance(0)
    expect(heard.map(({ type }) => type)).toEqual(['joined', 'isolated', 'recovered'])
    expect(presence.signal.aborted).toBe(true)
    expect(await membership.join()).toBe(membership.self())
    await close(membership, clock)
  })
})

describe('leaving', () => {
  it('ends in bounded time while the store does not answer', async () => {
    const { membership, clock, instead, count, presence } = await joined()
    instead.leave = () => Promise.reject(away())
    const leaving = membership.leave()
    await clock.advance(1_000)
    await leaving
    expect(count('leave')).toBe(3)
    expect(presence.signal.reason).toMatchObject({ reason: 'left' })
    await close(membership, clock)
  })
})

describe('joining while it leaves', () => {
  /** A store whose goodbye takes 500 ms. */
  async function leaving() {
    const context = await joined()
    const { instead, inner, clock, membership } = context
    instead.leave = async (...args: never[]) => {
      await clock.sleep(500)
      return (inner.leave as (...values: never[]) => Promise<unknown>)(...args)
    }
    const left = membership.leave()
    await clock.advance(0)
    return { ...context, left }
  }

  it('becomes a new generation once the old one has left', async () => {
    const { membership, clock, presence, left, heard } = await leaving()
    const joining = Promise.all([membership.join(), membership.join()])
    await clock.advance(500)
    await left
    const [again, too] = await joining
    expect(again.generation).toBeGreaterThan(presence.generation)
    expect(too).toBe(again)
    expect(heard.map(({ type }) => type)).toEqual(['joined', 'evicted', 'joined'])
    again.assertValid()
    await clock.advance(20_000)
    expect(membership.self()).toBe(again)
    await close(membership, clock)
  })

  it.each(['leave', 'close'] as const)('is given up by a %s() that comes after it', async (how) => {
    const { membership, clock, left, store } = await leaving()
    const joining = membership.join().catch((error: unknown) => error)
    const last = membership[how]()
    await clock.advance(500)
    await Promise.all([left, last])
    expect(await joining).toMatchObject({ code: how === 'leave' ? 'cluster.member_evicted' : 'cluster.closed' })
    await clock.advance(2_000)
    expect((await store.members('c')).records).toEqual([])
    await close(membership, clock)
  })
})

it('leave() gives up a join that has not read the view yet', async () => {
  const { membership, clock, instead, inner, count, store } = setup()
  const mayRead = Promise.withResolvers<void>()
  instead.members = async (...args: never[]) => {
    await mayRead.promise
    return (inner.members as (...values: never[]) => Promise<unknown>)(...args)
  }
  const joining = membership.join().catch((error: unknown) => error)
  await clock.advance(0)
  await membership.leave()
  mayRead.resolve()
  delete instead.members
  await clock.advance(2_000)
  expect(await joining).toMatchObject({ code: 'cluster.member_evicted', reason: 'left' })
  expect(count('join')).toBe(0)
  expect((await store.members('c')).records).toEqual([])
  await close(membership, clock)
})

describe('a mere watcher', () => {
  it('declares the dead when there is no member left to do it', async () => {
    const { membership, clock, server } = setup()
    await membership.ready()
    await memoryStateStore({ server }).join({
      cluster: 'c',
      instance: 'killed',
      joinId: 'x',
      json: '{"service":"s","meta":{}}',
      suspectAfterMs: 3_000,
      deadAfterMs: 10_000,
    })
    expect(membership.members()).toHaveLength(1)
    await clock.advance(4_000)
    expect(membership.members()[0]).toMatchObject({ status: 'suspect' })
    await clock.advance(8_000)
    expect(membership.members()).toEqual([])
    await close(membership, clock)
  })
})
