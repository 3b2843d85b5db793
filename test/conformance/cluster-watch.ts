import { randomUUID } from 'node:crypto'
import type { SharedState } from 'concordat/cluster'
import { describe, expect, it } from 'vitest'
import { exhaust } from '../support/exhaust.ts'
import type { StateEvent } from '../support/inside/election.ts'
import { gate, until } from '../support/until.ts'
import type { ClusterContext } from './cluster.ts'

/** Watcher's map after it has applied each change, and the changes themselves. */
function follower<T>() {
  const map = new Map<string, T>()
  const events: StateEvent<T>[] = []
  const listener = (event: StateEvent<T>): void => {
    events.push(event)
    if (event.type === 'snapshot') {
      map.clear()
      for (const { key, value } of event.entries) map.set(key, value as T)
      return
    }
    for (const { key, value } of event.changes) {
      if (value === undefined) map.delete(key)
      else map.set(key, value)
    }
  }
  return { map, events, listener, versions: () => events.map(({ version }) => version) }
}

async function contents<T>(state: SharedState<T>): Promise<Map<string, T>> {
  return new Map((await state.entries()).entries.map(({ key, value }) => [key, value]))
}

export function watchCases({ state: newState, store, wipe }: ClusterContext): void {
  describe('a watch', () => {
    it('begins with what is there, then tells every change, in order, once, with its version', async () => {
      const name = randomUUID()
      const [a, b] = [newState<number>({ name }), newState<number>({ name })]
      const before = await a.put('before', 0)
      const { events, listener } = follower<number>()
      b.watch(listener)
      await until('it has begun', () => events.length === 1)
      const versions = [before.version]
      for (let n = 1; n <= 20; n++) versions.push((await a.put(`k${n % 3}`, n)).version)
      versions.push((await a.delete('before')).version)
      await until('all is told', () => events.length === 22)
      expect(events.map(({ version }) => version)).toEqual(versions)
      expect(events[0]).toMatchObject({ type: 'snapshot', reason: 'first', entries: [{ key: 'before', value: 0 }] })
      expect(events[21]).toMatchObject({ changes: [{ key: 'before', value: undefined }] })
    })

    it('delivers a transaction whole', async () => {
      const state = newState<number>()
      const { events, listener } = follower<number>()
      state.watch(listener)
      await state.transact([
        { put: 'a', value: 1 },
        { put: 'b', value: 2 },
      ])
      await until('it is told', () => events.some(({ type, version }) => type === 'change' || version > 0))
      const told = events.at(-1)
      const parts = told?.type === 'change' ? told.changes : told?.entries
      expect(parts?.map(({ key }) => key)).toEqual(['a', 'b'])
    })

    it('watches of many writers and watchers end in the same map, through the same versions', async () => {
      const name = randomUUID()
      const states = [0, 1, 2].map(() => newState<number>({ name }))
      const first = states[0] as SharedState<number>
      await first.put('k0', -1)
      const followers = Array.from({ length: 9 }, () => follower<number>())
      for (const [n, { listener }] of followers.entries()) states[n % 3]?.watch(listener)
      await until('all have begun', () => followers.every(({ events }) => events.length > 0))
      await Promise.all(
        states.map(async (state, writer) => {
          for (let n = 0; n < 40; n++) {
            if (n % 7 === 6) await state.delete(`k${n % 5}`)
            else await state.put(`k${n % 5}`, writer * 100 + n)
          }
        }),
      )
      const last = (await first.put('end', 1)).version
      await until('all have seen the end', () => followers.every(({ events }) => events.at(-1)?.version === last))
      const expected = await contents(first)
      for (const { map, versions } of followers) {
        expect(map).toEqual(expected)
        expect(versions()).toEqual(followers[0]?.versions())
        expect(versions()).toEqual(versions().toSorted((a, b) => a - b))
      }
    })

    it('gets changes of its prefix only', async () => {
      const state = newState<number>()
      const { events, listener } = follower<number>()
      await state.put('a/1', 1)
      await state.put('b/1', 1)
      const watch = state.watch(listener, { prefix: 'b/' })
      await until('it has begun', () => events.length === 1)
      expect(events[0]).toMatchObject({ entries: [{ key: 'b/1' }] })
      await state.put('a/2', 2)
      await state.transact([
        { put: 'a/3', value: 3 },
        { put: 'b/3', value: 3 },
      ])
      await until('it is told', () => events.length === 2)
      expect(events[1]).toMatchObject({ type: 'change', changes: [{ key: 'b/3', value: 3 }] })
      const { version } = await state.put('a/4', 4)
      await until('it knows how far it is, though nothing was told', () => watch.version === version)
      watch.stop()
      await state.put('a/5', 5)
      expect(watch.version).toBe(version)
      expect(events).toHaveLength(2)
    })

    it('continues after a version, without a snapshot', async () => {
      const name = randomUUID()
      const [a, b] = [newState<number>({ name }), newState<number>({ name })]
      const versions: number[] = []
      for (let n = 0; n < 10; n++) versions.push((await a.put('k', n)).version)
      const { events, listener } = follower<number>()
      const watch = b.watch(listener, { after: versions[5] as number })
      await until('it has caught up', () => events.length === 4)
      versions.push((await a.put('k', 10)).version)
      await until('it goes on', () => events.length === 5)
      expect(events.map(({ version }) => version)).toEqual(versions.slice(6))
      expect(watch.version).toBe(versions[10])
      watch.stop()
      versions.push((await a.put('k', 11)).version)
      const more = follower<number>()
      b.watch(more.listener, { after: watch.version })
      await until('the next one begins there', () => more.events.length === 1)
      expect(more.versions()).toEqual([versions[11]])
    })

    it('a watch that comes too late gets a snapshot, never a gap', async () => {
      const state = newState<number>({ keepChanges: 5 })
      const versions: number[] = []
      for (let n = 0; n < 12; n++) versions.push((await state.put('k', n)).version)
      const { events, listener } = follower<number>()
      state.watch(listener, { after: versions[2] as number })
      await until('it is told', () => events.length === 1)
      expect(events[0]).toMatchObject({ type: 'snapshot', reason: 'behind', version: versions[11] })
      await state.put('k', 12)
      await until('it goes on', () => events.length === 2)
    })

    it('reports that the store went back when it never had that version', async () => {
      const state = newState<number>()
      const { version } = await state.put('k', 1)
      const { events, listener } = follower<number>()
      state.watch(listener, { after: version + 1_000_000 })
      await until('it is told', () => events.length === 1)
      expect(events[0]).toMatchObject({ type: 'snapshot', reason: 'rollback', version })
    })

    it('reports that the store lost everything, and delivers its later content', async () => {
      const name = randomUUID()
      const [a, b] = [newState<number>({ name }), newState<number>({ name })]
      await a.put('k', 1)
      const { events, map, listener } = follower<number>()
      b.watch(listener)
      await until('it has begun', () => map.get('k') === 1)
      await wipe()
      await until('it has heard', () => events.length === 2)
      expect(events[1]).toMatchObject({ type: 'snapshot', reason: 'rollback', entries: [] })
      await a.put('k', 2)
      await until('it goes on', () => map.get('k') === 2)
    })

    it('a slow watch gets a snapshot instead of missed changes, and does not delay others', async () => {
      const state = newState<number>({ maxPending: 10 })
      await state.put('k', 0)
      const [slow, fast] = [follower<number>(), follower<number>()]
      const held = gate()
      state.watch(async (event) => {
        slow.listener(event)
        await held.opened
      })
      state.watch(fast.listener)
      await until('both have begun', () => slow.events.length === 1 && fast.events.length === 1)
      for (let n = 1; n <= 50; n++) {
        await state.put('k', n)
        // One by one: a watcher would also get a snapshot for more than ten changes at once.
        await until('the fast one has it', () => fast.events.length === n + 1)
      }
      held.open()
      await until('the slow one has caught up', () => slow.map.get('k') === 50)
      expect(slow.events[1]).toMatchObject({ type: 'snapshot', reason: 'slow' })
      expect(slow.events.length).toBeLessThan(15)
    })

    it('continues when a listener throws', async () => {
      const state = newState<number>()
      const seen: number[] = []
      state.watch((event) => {
        seen.push(event.version)
        throw new Error('mine')
      })
      await state.put('k', 1)
      const { version } = await state.put('k', 2)
      await until('it is told', () => seen.at(-1) === version)
    })

    it('can be iterated over, and ends with break, signal and close', async () => {
      const state = newState<number>()
      const seen: number[] = []
      for await (const event of state.events()) {
        seen.push(event.version)
        if (seen.length === 3) break
        await state.put('k', seen.length)
      }
      expect(seen).toHaveLength(3)
      const stopping = new AbortController()
      const reason = new Error('stop')
      const aborted = exhaust(state.events({ signal: stopping.signal }))
      const ended = exhaust(state.events())
      stopping.abort(reason)
      await expect(aborted).rejects.toBe(reason)
      await state.close()
      await ended
    })

    it('stops in every state: before it began, while it catches up, after close', async () => {
      const shared = store()
      const state = newState<number>({ store: shared })
      const { version } = await state.put('k', 1)
      const seen: unknown[] = []
      state.watch((event) => void seen.push(event)).stop()
      const catching = state.watch((event) => void seen.push(event), { after: version })
      catching.stop()
      catching.stop()
      const late = state.watch((event) => void seen.push(event), { after: 1 })
      await state.close()
      late.stop()
      expect(await newState<number>({ store: shared, name: state.name }).get('k')).toMatchObject({ value: 1 })
      expect(seen).toEqual([])
    })
  })

  describe('a mirror', () => {
    it('answers at once, in frozen values, at a version it names', async () => {
      const name = randomUUID()
      const [a, b] = [newState<{ n: number }>({ name }), newState<{ n: number }>({ name })]
      await a.put('x/1', { n: 1 })
      const mirror = await b.mirror()
      expect(mirror.get('x/1')?.value).toEqual({ n: 1 })
      expect(mirror.get('constructor')).toBeUndefined()
      const { version } = await a.put('x/2', { n: 2 })
      await until('it follows', () => mirror.version === version)
      await a.put('y', { n: 3 })
      await until('it follows', () => mirror.get('y') !== undefined)
      expect(mirror.entries('x/').map(({ key }) => key)).toEqual(['x/1', 'x/2'])
      expect(Object.isFrozen(mirror.get('x/1')?.value)).toBe(true)
      await a.delete('x/1')
      await until('it forgets', () => mirror.get('x/1') === undefined)
    })
  })
}
