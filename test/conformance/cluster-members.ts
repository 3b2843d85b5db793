import { randomUUID } from 'node:crypto'
import type { Membership } from 'concordat/cluster'
import { describe, expect, it } from 'vitest'
import { exhaust } from '../support/exhaust.ts'
import type { Member, MembershipEvent, Presence, PresenceEvent } from '../support/inside/election.ts'
import { insist, persistent, unlessRefused } from '../support/refusals.ts'
import { gate, until } from '../support/until.ts'
import type { ClusterContext } from './cluster.ts'

const FAST = { heartbeatMs: 40, suspectAfterMs: 160, deadAfterMs: 480 }
/** Timing for members that must stay alive: a short pause of the machine must not silence them. */
const PATIENT = { heartbeatMs: 40, suspectAfterMs: 10_000, deadAfterMs: 20_000 }

/** `joined a#1`: who, and which of the generations of that instance in order of appearance. */
function story(events: readonly MembershipEvent[]): string[] {
  const seen = new Map<string, number[]>()
  const nameOf = ({ instance, generation }: Member): string => {
    const known = seen.get(instance) ?? []
    seen.set(instance, known)
    if (!known.includes(generation)) known.push(generation)
    return `${instance}#${known.indexOf(generation) + 1}`
  }
  return events.flatMap((event) => {
    if (event.type === 'view' || event.type === 'resync') return event.type === 'view' ? [] : [`resync ${event.reason}`]
    return [`${event.type} ${nameOf(event.member)}${event.type === 'dead' ? ` ${event.reason}` : ''}`]
  })
}

function isValid(presence: Presence | undefined): boolean {
  try {
    presence?.assertValid()
    return presence !== undefined
  } catch {
    return false
  }
}

export function memberCases({ member, store, wipe }: ClusterContext): void {
  const watcher = async (cluster: string, options = FAST) => {
    const observer = member({ cluster, instance: `observer ${randomUUID()}`, ...options })
    const events: MembershipEvent[] = []
    observer.watch((event) => void events.push(event))
    await until('the watcher has begun', () => events.length > 0)
    return { observer, events, story: () => story(events) }
  }
  const heard = (membership: Membership): PresenceEvent[] => {
    const events: PresenceEvent[] = []
    membership.subscribe((event) => void events.push(event))
    return events
  }
  /** A member whose process hangs: its store does not answer from now on. */
  const hung = (options: Parameters<typeof member>[0]) => {
    const inner = store()
    const state = { hangs: false }
    const held = gate()
    const proxy = new Proxy(inner, {
      get: (target, name: keyof typeof inner) => {
        const value = target[name]
        if (typeof value !== 'function') return value
        return async (...args: never[]) => {
          if (state.hangs && name !== 'close') await held.opened
          return (value as (...values: never[]) => unknown).apply(target, args)
        }
      },
    })
    const follow: typeof inner.follow = (...args) => inner.follow(...args)
    const patched = Object.assign(Object.create(proxy) as typeof inner, { follow })
    const membership = member({ ...options, store: patched })
    return { membership, hang: () => (state.hangs = true), thaw: () => held.open() }
  }

  describe('a member', () => {
    it('is seen by all with its metadata, as soon as join resolves', async () => {
      const cluster = randomUUID()
      const a = member({ cluster, instance: 'a', service: 'orders', group: 'eu', meta: { port: 80 } })
      const b = member({ cluster, instance: 'b', service: 'stock' })
      expect(a.self()).toBeUndefined()
      expect(a.members()).toEqual([])
      const presence = await a.join()
      await b.join()
      expect(a.self()).toBe(presence)
      expect(a.members()).toContainEqual(expect.objectContaining({ instance: 'a', service: 'orders', group: 'eu' }))
      await until('a sees b', () => a.members().length === 2)
      for (const one of [a, b]) expect(one.members().map(({ instance }) => instance)).toEqual(['a', 'b'])
      const seen = b.members()[0]
      expect(seen).toMatchObject({ generation: presence.generation, status: 'alive', meta: { port: 80 } })
      expect(Math.abs((seen?.joinedAt ?? 0) - Date.now())).toBeLessThan(5_000)
      expect(a.view().version).toBe(b.view().version)
      expect(b.members()[1]).not.toHaveProperty('group')
    })

    it('joins once, for any number of calls', async () => {
      const cluster = randomUUID()
      const a = member({ cluster, instance: 'a' })
      const { story } = await watcher(cluster)
      const [first, second] = await Promise.all([a.join(), a.join()])
      expect(second).toBe(first)
      expect(await a.join()).toBe(first)
      await a.leave()
      await until('it has left', () => story().length === 2)
      expect(story()).toEqual(['joined a#1', 'left a#1'])
    })

    it('gets a higher generation each time, and over all members of the cluster', async () => {
      const cluster = randomUUID()
      let last = 0
      for (const instance of ['a', 'b', 'a', 'a']) {
        const one = member({ cluster, instance })
        const { generation } = await one.join()
        expect(generation).toBeGreaterThan(last)
        expect(Number.isSafeInteger(generation)).toBe(true)
        last = generation
      }
      await wipe()
      expect((await member({ cluster, instance: 'c' }).join()).generation).toBeGreaterThan(last)
    })

    it('publishes new metadata to all, and the last one stays', async () => {
      const cluster = randomUUID()
      const a = member({ cluster, instance: 'a', meta: { n: 0 } })
      await a.join()
      const { events, observer } = await watcher(cluster)
      // A refused update goes out with the next heartbeat: repeated, it would overtake those after it.
      await Promise.all([1, 2, 3].map((n) => a.update({ n }).catch(unlessRefused)))
      await until('all have the last', () => observer.members()[0]?.meta['n'] === 3)
      expect(events.slice(1).every(({ type }) => type === 'updated')).toBe(true)
      expect(observer.members()[0]).toMatchObject({ status: 'alive' })
    })

    it('cannot keep what JSON cannot hold, or too much of it', async () => {
      const cluster = randomUUID()
      expect(() => member({ cluster, meta: { at: new Date() } })).toThrow(
        expect.objectContaining({ code: 'cluster.data_invalid' }),
      )
      const a = member({ cluster, maxMetaBytes: 50 })
      await expect(a.update({ text: 'x'.repeat(50) })).rejects.toMatchObject({
        code: 'cluster.data_too_large',
        maxBytes: 50,
      })
      await expect(a.update([] as never)).rejects.toMatchObject({ code: 'cluster.data_invalid' })
    })

    it('leaves at once, and can come back as a new generation', async () => {
      const cluster = randomUUID()
      const [a, b] = [member({ cluster, instance: 'a' }), member({ cluster, instance: 'b' })]
      const events = heard(a)
      await b.join()
      const first = await a.join()
      await a.leave()
      expect(a.self()).toBeUndefined()
      expect(a.status()).toMatchObject({ state: 'observing', generation: undefined })
      expect(() => first.assertValid()).toThrow(expect.objectContaining({ code: 'cluster.member_evicted' }))
      expect(first.signal.reason).toMatchObject({ reason: 'left' })
      await until('b sees it', () => b.members().length === 1)
      await until('a sees it too', () => a.members().length === 1)
      const second = await a.join()
      expect(second.generation).toBeGreaterThan(first.generation)
      expect(events).toEqual([
        { type: 'joined', generation: first.generation },
        { type: 'evicted', generation: first.generation, reason: 'left' },
        { type: 'joined', generation: second.generation },
      ])
    })

    it('a member that falls silent is suspect, then dead; one that reports in between has recovered', async () => {
      const cluster = randomUUID()
      const { story, observer, events } = await watcher(cluster)
      const a = hung({ cluster, instance: 'a', ...PATIENT, suspectAfterMs: 1_000 })
      await a.membership.join()
      a.hang()
      await until('it is suspect', () => story().includes('suspect a#1'))
      expect(observer.members()).toMatchObject([{ instance: 'a', status: 'suspect' }])
      a.thaw()
      await until('it has recovered', () => story().includes('recovered a#1'))
      expect(observer.members()).toMatchObject([{ instance: 'a', status: 'alive' }])
      const b = hung({ cluster, instance: 'b', ...FAST })
      await b.membership.join()
      b.hang()
      const joinedAt = performance.now()
      await until('b is dead', () => story().includes('dead b#1 silent'))
      expect(performance.now() - joinedAt).toBeGreaterThan(FAST.deadAfterMs - FAST.heartbeatMs - 20)
      expect(story().filter((line) => line.includes(' b#'))).toEqual(['joined b#1', 'suspect b#1', 'dead b#1 silent'])
      expect(observer.members().map(({ instance }) => instance)).toEqual(['a'])
      const versions = events.map(({ version }) => version)
      expect(versions).toEqual([...new Set(versions)].toSorted((x, y) => x - y))
      b.thaw()
    })

    it('a member that was declared dead is refused, knows it, and joins again as a new generation', async () => {
      const cluster = randomUUID()
      const { story } = await watcher(cluster)
      const b = member({ cluster, instance: 'b', ...FAST })
      await b.join()
      const a = hung({ cluster, instance: 'a', ...FAST })
      const events = heard(a.membership)
      const first = await a.membership.join()
      a.hang()
      await until('it counts itself as isolated', () => first.signal.aborted)
      expect(first.signal.reason).toMatchObject({ code: 'cluster.member_isolated', generation: first.generation })
      expect(a.membership.self()).toBeUndefined()
      expect(a.membership.status()).toMatchObject({ state: 'isolated' })
      expect(a.membership.health()).toMatchObject({ status: 'down' })
      await until('it is dead', () => story().includes('dead a#1 silent'))
      a.thaw()
      await until('it is back', () => a.membership.self() !== undefined)
      await until('all see it', () => story().includes('joined a#2'))
      // A slow machine may make it silent again.
      expect(events.slice(0, 4).map(({ type }) => type)).toEqual(['joined', 'isolated', 'evicted', 'joined'])
      expect(events[2]).toMatchObject({ reason: 'dead', generation: first.generation })
      const own = story().filter((line) => line.includes(' a#'))
      expect(own.slice(0, 4)).toEqual(['joined a#1', 'suspect a#1', 'dead a#1 silent', 'joined a#2'])
    })

    it('a member that was cut off for a while comes back as the same generation, with a report', async () => {
      const cluster = randomUUID()
      const a = hung({ cluster, instance: 'a', heartbeatMs: 40, suspectAfterMs: 1_000, deadAfterMs: 60_000 })
      const events = heard(a.membership)
      const first = await a.membership.join()
      a.hang()
      await until('it is isolated', () => first.signal.aborted)
      a.thaw()
      await until('it has recovered, and is valid', () => isValid(a.membership.self()))
      expect(a.membership.status().generation).toBe(first.generation)
      expect(() => first.assertValid()).toThrow(expect.objectContaining({ code: 'cluster.member_isolated' }))
      // A slow machine may isolate it more than once.
      expect(events.map(({ type }) => type).join(' ')).toMatch(/^joined( isolated recovered)+( isolated)?$/)
    })

    it('is replaced by a later process with its id permanently, and can do nothing in its name', async () => {
      const cluster = randomUUID()
      const { story } = await watcher(cluster)
      // The member is to be replaced before it is isolated.
      const a = hung({ cluster, instance: 'a', ...PATIENT })
      const events = heard(a.membership)
      const first = await a.membership.join()
      a.hang()
      const successor = member({ cluster, instance: 'a', ...PATIENT, meta: { who: 'successor' } })
      const second = await successor.join()
      expect(second.generation).toBeGreaterThan(first.generation)
      const updating = insist(() => a.membership.update({ who: 'zombie' })).catch((error: unknown) => error)
      a.thaw()
      expect(await updating).toMatchObject({ code: 'cluster.member_evicted' })
      await until('it knows', () => a.membership.status().state === 'evicted')
      expect(events.at(-1)).toEqual({ type: 'evicted', generation: first.generation, reason: 'replaced' })
      expect(first.signal.reason).toMatchObject({ reason: 'replaced' })
      await a.membership.leave()
      await successor.update({ who: 'successor', still: true }).catch(unlessRefused)
      await until('all see it', () => story().includes('updated a#2'))
      expect(story()).toEqual(['joined a#1', 'dead a#1 replaced', 'joined a#2', 'updated a#2'])
      expect(successor.self()).toBe(second)
    })

    it('stays out after its death if configured', async () => {
      const cluster = randomUUID()
      const { story } = await watcher(cluster)
      const a = hung({ cluster, instance: 'a', ...FAST, rejoin: false })
      await a.membership.join()
      a.hang()
      await until('it is dead', () => story().includes('dead a#1 silent'))
      a.thaw()
      await until('it knows', () => a.membership.status().state === 'evicted')
      const again = await a.membership.join()
      again.assertValid()
    })
  })

  describe('a sweep', () => {
    const later = (ms: number): Promise<void> => {
      const begun = performance.now()
      return until(`${ms} ms have passed`, () => performance.now() - begun > ms)
    }

    it('after a pause declares no member dead that could not be heard, at any time of the sweep', async () => {
      const [cluster, shared] = [randomUUID(), persistent(store(), ['join', 'members', 'beat'])]
      const join = async (instance: string, suspectAfterMs: number, deadAfterMs: number): Promise<number> => {
        const json = '{"service":"s","meta":{}}'
        const reply = await shared.join({ cluster, instance, joinId: instance, json, suspectAfterMs, deadAfterMs })
        return reply.status === 'joined' ? reply.generation : 0
      }
      const statuses = async (): Promise<string[]> =>
        (await shared.members(cluster)).records.map(({ instance, status }) => `${instance} ${status}`).toSorted()
      const patient = await join('patient', 60_000, 120_000)
      const beat = (guardMs: number) => shared.beat(cluster, 'patient', patient, guardMs)
      // The first sweep has no earlier one to compare with. The machine may pause between any two lines here.
      await beat(60_000)
      await join('quick', 60, 120)
      await beat(60_000)
      await later(200)
      await beat(60_000)
      expect(await statuses()).toEqual(['patient alive', 'quick alive'])
      await until('the quick one is suspect', async () => {
        await beat(60_000)
        return (await statuses()).includes('quick suspect')
      })
      await later(200)
      await beat(1)
      expect(await statuses()).toEqual(['patient alive', 'quick suspect'])
      await until('it is dead', async () => {
        await beat(1)
        return !(await statuses()).includes('quick suspect')
      })
      expect(await statuses()).toEqual(['patient alive'])
    })
  })

  describe('the view', () => {
    it('comes first for late watchers, then each transition once, in one order for all', async () => {
      const cluster = randomUUID()
      const early = await watcher(cluster)
      const members = Array.from({ length: 5 }, (_, n) => member({ cluster, instance: `m${n}` }))
      for (const one of members) await one.join()
      const late = await watcher(cluster)
      expect(late.events[0]).toMatchObject({ type: 'view', view: { members: { length: 5 } } })
      await Promise.all(members.map((one, n) => (n % 2 === 0 ? one.close() : one.update({ n }).catch(unlessRefused))))
      await until('all is told', () => early.events.length === 11 && late.events.length === 6)
      expect(early.story().slice(5)).toEqual(late.story())
      expect(early.events.slice(6)).toEqual(late.events.slice(1))
      for (const { events } of [early, late]) {
        for (const { version, view } of events) expect(view.version).toBe(version)
      }
      expect(late.observer.members().map(({ instance }) => instance)).toEqual(['m1', 'm3'])
    })

    it('can be iterated over', async () => {
      const cluster = randomUUID()
      const observer = member({ cluster })
      const a = member({ cluster, instance: 'a' })
      const seen: string[] = []
      for await (const event of observer.events()) {
        seen.push(event.type)
        if (event.type === 'view') await a.join()
        if (event.type === 'joined') await a.close()
        if (event.type === 'left') break
      }
      expect(seen).toEqual(['view', 'joined', 'left'])
    })

    it('survives a store that loses everything: no member dies, every generation stays', async () => {
      const cluster = randomUUID()
      // Long enough that a slow machine isolates no member.
      const timing = { heartbeatMs: 40, suspectAfterMs: 2_000, deadAfterMs: 4_000 }
      const members = ['a', 'b', 'c'].map((instance) => member({ cluster, instance, ...timing }))
      const presences = await Promise.all(members.map((one) => one.join()))
      const [first] = members as [Membership]
      const events: MembershipEvent[] = []
      await until('all are seen', () => members.every((one) => one.members().length === 3))
      first.watch((event) => void events.push(event))
      await until('the watch has begun', () => events.length > 0)
      await wipe()
      await until('it is noticed', () => events.some(({ type }) => type === 'resync'))
      await until('beats are confirmed again', () => members.every((one) => one.self() !== undefined))
      const generations = new Set(first.members().map(({ generation }) => generation))
      expect(generations).toEqual(new Set(presences.map(({ generation }) => generation)))
      for (const { view } of events) expect(view.members.length).toBe(3)
      expect(events.filter(({ type }) => type !== 'view').map(({ type }) => type)).toEqual(['resync'])
      for (const presence of presences) presence.assertValid()
    })
  })

  describe('a membership', () => {
    it('names the option that is wrong', () => {
      const cluster = randomUUID()
      expect(() => member({ cluster, heartbeatMs: 5 })).toThrow('heartbeatMs: expected a whole number >= 10')
      expect(() => member({ cluster, heartbeatMs: 100, suspectAfterMs: 150 })).toThrow('suspectAfterMs')
      expect(() => member({ cluster, deadAfterMs: 3_000 })).toThrow('deadAfterMs')
      expect(() => member({ cluster, instance: '' })).toThrow('instance')
      expect(() => member({ cluster, instance: '\ud800' })).toThrow('instance')
      expect(() => member({ cluster: 'x'.repeat(300) })).toThrow('at most 200 characters')
    })

    it('closes in every state, twice, and is of no use then', async () => {
      const cluster = randomUUID()
      const closed = { code: 'cluster.closed' }
      const idle = member({ cluster })
      await Promise.all([idle.close(), idle.close()])
      expect(idle.status()).toMatchObject({ state: 'closed' })
      expect(idle.health()).toEqual({ status: 'closed' })
      await expect(idle.join()).rejects.toMatchObject(closed)
      await expect(idle.ready()).rejects.toMatchObject(closed)
      await expect(idle.update({})).rejects.toMatchObject(closed)
      expect(() => idle.watch(() => {})).toThrow(expect.objectContaining(closed))

      const joining = member({ cluster, instance: 'joining' })
      const joined = joining.join().catch((error: unknown) => error)
      await joining.close()
      expect(await joined).toMatchObject(closed)

      const watching = member({ cluster })
      const ended = exhaust(watching.events())
      await watching.join()
      await watching.close()
      await ended
      const observer = member({ cluster })
      await observer.ready()
      expect(observer.members()).toEqual([])
    })

    it('gives up when its store is closed before it, and closes anyway', async () => {
      const cluster = randomUUID()
      const [shared, other] = [store(), store()]
      const a = member({ cluster, instance: 'a', store: shared, ...FAST })
      const b = member({ cluster, instance: 'b', store: other, ...FAST })
      const presence = await a.join()
      await shared.close()
      await until('its presence is over', () => presence.signal.aborted)
      expect(a.self()).toBeUndefined()
      await a.close()
      await other.close()
      await expect(b.join()).rejects.toMatchObject({ code: 'cluster.closed' })
      await b.close()
    })

    it('ends a join that waits when leave comes, or its signal', async () => {
      const cluster = randomUUID()
      const a = hung({ cluster, instance: 'a', ...FAST })
      await a.membership.ready()
      a.hang()
      const stop = new AbortController()
      const reason = new Error('stop')
      const first = a.membership.join({ signal: stop.signal })
      const second = a.membership.join().catch((error: unknown) => error)
      stop.abort(reason)
      await expect(first).rejects.toBe(reason)
      const left = a.membership.leave()
      a.thaw()
      await left
      expect(await second).toMatchObject({ code: 'cluster.member_evicted', reason: 'left' })
      expect(a.membership.self()).toBeUndefined()
    })
  })
}
