import { createMembership } from 'concordat/cluster'
import { memoryStateStore } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { away, close, setup, TIMING } from './support/scripted-member.ts'

describe('a member with a join request whose answer was lost', () => {
  /** Joined by the second request; `arrive` delivers the first one. */
  async function uncertain() {
    const context = setup()
    const { membership, clock, instead, inner, server, store } = context
    const arrivals: Array<() => Promise<unknown>> = []
    instead.join = async (...args: never[]) => {
      const arrive = () => (inner.join as (...values: never[]) => Promise<unknown>)(...args)
      arrivals.push(arrive)
      if (arrivals.length === 1) throw away()
      return arrive()
    }
    const joining = membership.join()
    await clock.advance(1_000)
    const presence = await joining
    const successor = createMembership({
      store: memoryStateStore({ server }),
      cluster: 'c',
      service: 's',
      instance: 'a',
      clock,
      ...TIMING,
    })
    const generations = async () => (await store.members('c')).records.map(({ generation }) => generation)
    /** Ends the generation in the store, at a time when no heartbeat of this member reports it yet. */
    const end = async () => {
      const [record] = (await inner.members('c')).records
      await inner.leave('c', 'a', record?.joinId ?? '', false)
    }
    return { ...context, presence, successor, generations, end, arrive: () => arrivals[0]?.() }
  }

  it.each(['leave', 'close'] as const)('replaces no successor that joined after its %s()', async (how) => {
    const { membership, clock, successor, generations, arrive } = await uncertain()
    const left = membership[how]()
    await clock.advance(1_000)
    await left
    const { generation } = await successor.join()
    expect(await arrive()).toEqual({ status: 'given_up' })
    expect(await generations()).toEqual([generation])
    await close(successor, clock)
    await close(membership, clock)
  })

  it('replaces no successor that has replaced it', async () => {
    const { membership, clock, presence, successor, generations, arrive } = await uncertain()
    const { generation } = await successor.join()
    await clock.advance(1_000)
    expect(presence.signal.reason).toMatchObject({ reason: 'replaced' })
    expect(await arrive()).toEqual({ status: 'given_up' })
    expect(await generations()).toEqual([generation])
    await close(successor, clock)
    await close(membership, clock)
  })

  it('joins again when that request has replaced it', async () => {
    const { membership, clock, presence, generations, end, arrive } = await uncertain()
    await end()
    expect(await arrive()).toMatchObject({ status: 'joined' })
    await clock.advance(2_000)
    expect(presence.signal.aborted).toBe(true)
    expect(() => presence.assertValid()).toThrow(expect.objectContaining({ reason: 'dead' }))
    expect(membership.status().state).toBe('alive')
    expect(await generations()).toEqual([membership.self()?.generation])
    await close(membership, clock)
  })

  it('joins again when that request has replaced its next generation, as its goodbye was lost', async () => {
    const { membership, clock, instead, generations, end, arrive } = await uncertain()
    await end()
    instead.leave = () => Promise.reject(away())
    await clock.advance(3_000)
    const next = membership.self()
    expect(next).toBeDefined()
    delete instead.leave
    expect(await arrive()).toMatchObject({ status: 'joined' })
    await clock.advance(2_000)
    expect(next?.signal.aborted).toBe(true)
    expect(await generations()).toEqual([membership.self()?.generation])
    await close(membership, clock)
  })

  it('joins again when that request has replaced it, and its generation has ended before it is read', async () => {
    const { membership, clock, presence, inner, instead, generations, end, arrive } = await uncertain()
    await end()
    await arrive()
    instead.members = async () => {
      delete instead.members
      await end()
      return inner.members('c')
    }
    await clock.advance(2_000)
    expect(presence.signal.reason).toMatchObject({ reason: 'dead' })
    expect(membership.status().state).toBe('alive')
    expect(await generations()).toEqual([membership.self()?.generation])
    await close(membership, clock)
  })

  it('is in doubt while it cannot read who has replaced it', async () => {
    const { membership, clock, presence, instead, end, arrive } = await uncertain()
    await end()
    await arrive()
    instead.members = () => Promise.reject(away())
    await clock.advance(1_000)
    expect(membership.status().state).toBe('isolated')
    expect(presence.signal.reason).toMatchObject({ code: 'cluster.member_isolated' })
    delete instead.members
    await clock.advance(1_000)
    expect(membership.status().state).toBe('alive')
    await close(membership, clock)
  })

  it.each(['leave', 'close'] as const)(
    'gives that request up before its %s() after a replacement resolves',
    async (how) => {
      const { membership, clock, successor, inner, instead, arrive } = await uncertain()
      const { generation } = await successor.join()
      const order: string[] = []
      instead.leave = async (...args: never[]) => {
        await clock.sleep(500)
        await (inner.leave as (...values: never[]) => Promise<unknown>)(...args)
        order.push('told')
      }
      await clock.advance(500)
      expect(membership.status().state).toBe('evicted')
      const left = membership[how]().then(() => order.push('ended'))
      await clock.advance(500)
      await left
      expect(order).toEqual(['told', 'ended'])
      expect(await arrive()).toEqual({ status: 'given_up' })
      expect(successor.self()?.generation).toBe(generation)
      await close(successor, clock)
      await close(membership, clock)
    },
  )

  it('does not replace its own next generation after its death', async () => {
    const { membership, clock, presence, inner, generations, arrive } = await uncertain()
    const [record] = (await inner.members('c')).records
    // The store has forgotten it, as after its time to be dead.
    await inner.leave('c', 'a', record?.joinId ?? '', false)
    await clock.advance(2_000)
    expect(presence.signal.reason).toMatchObject({ reason: 'dead' })
    expect(await arrive()).toEqual({ status: 'given_up' })
    expect(await generations()).toEqual([membership.self()?.generation])
    await close(membership, clock)
  })
})
