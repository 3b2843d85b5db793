import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { ClusterContext } from './cluster.ts'

export function boundCases({ state: newState, member }: ClusterContext): void {
  describe('an entry that is bound to a member', () => {
    it('goes when the member leaves, with a version, and others stay', async () => {
      const cluster = randomUUID()
      const a = member({ cluster, instance: 'a b/1' })
      const [one, two] = [newState<number>({ cluster }), newState<number>({ cluster })]
      const presence = await a.join()
      await one.put('mine 1', 1, { boundTo: presence })
      const { version } = await two.put('mine', 1, { boundTo: presence })
      await one.put('mine, then not', 1, { boundTo: presence })
      await one.put('mine, then not', 2)
      await one.put('gone before', 1, { boundTo: presence })
      await one.delete('gone before')
      const mirror = await two.mirror()
      expect(mirror.get('mine')).toMatchObject({ boundTo: { instance: 'a b/1', generation: presence.generation } })
      await a.leave()
      expect((await one.entries()).entries).toMatchObject([{ key: 'mine, then not', value: 2 }])
      const gone = await two.get('mine')
      expect(gone.value).toBeUndefined()
      expect(gone.version).toBeGreaterThan(version)
      await expect.poll(() => mirror.get('mine')).toBeUndefined()
    })

    it('is bound anew, or no longer, by an update that leaves the value as it is', async () => {
      const cluster = randomUUID()
      const [a, b] = [member({ cluster, instance: 'a' }), member({ cluster, instance: 'b' })]
      const state = newState<string>({ cluster })
      const [first, second] = [await a.join(), await b.join()]
      await state.put('role', 'ready', { boundTo: first })
      const { version } = await state.put('free', 'ready', { boundTo: first })
      await state.update('free', (value) => value, { boundTo: null })
      await state.update('role', (value) => value, { boundTo: second })
      expect((await state.get('free')).version).toBeGreaterThan(version)
      await a.leave()
      expect(await state.get('free')).toMatchObject({ value: 'ready' })
      expect(await state.get('role')).toMatchObject({ value: 'ready', boundTo: { instance: 'b' } })
      await b.leave()
      expect((await state.get('role')).value).toBeUndefined()
    })

    it('stays bound when an update does not name a member, and is no longer bound by a put that names none', async () => {
      const cluster = randomUUID()
      const a = member({ cluster, instance: 'a' })
      const state = newState<number>({ cluster })
      const boundTo = await a.join()
      for (const key of ['updated', 'put', 'put with null', 'unbound', 'made with null', 'transact'])
        await state.put(key, 1, { boundTo })
      await state.update('updated', (value = 0) => value + 1)
      expect(await state.get('updated')).toMatchObject({ value: 2, boundTo: { instance: 'a' } })
      await state.put('put', 2)
      await state.put('put with null', 2, { boundTo: null })
      await state.update('unbound', (value = 0) => value + 1, { boundTo: null })
      await state.update('made with null', () => undefined)
      await state.update('made with null', () => 2, { boundTo: null })
      await state.transact([{ put: 'transact', value: 2, boundTo: null }])
      const kept = ['made with null', 'put', 'put with null', 'transact', 'unbound']
      for (const key of kept) expect((await state.get(key)).boundTo).toBeUndefined()
      await a.leave()
      const left = (await state.entries()).entries
      expect(left.map(({ key, value }) => [key, value])).toEqual(kept.map((key) => [key, 2]))
    })

    it('of a member that ends while an update changes the value is made anew without a binding', async () => {
      const cluster = randomUUID()
      const a = member({ cluster, instance: 'a' })
      const state = newState<number>({ cluster })
      await state.put('k', 1, { boundTo: await a.join() })
      const seen: Array<number | undefined> = []
      await state.update('k', async (value) => {
        if (seen.push(value) === 1) await a.leave()
        return 2
      })
      expect(seen).toEqual([1, undefined])
      expect(await state.get('k')).toMatchObject({ value: 2 })
      expect((await state.get('k')).boundTo).toBeUndefined()
    })

    it('is neither written nor unbound for a process that is no member now', async () => {
      const cluster = randomUUID()
      const a = member({ cluster })
      const state = newState<string>({ cluster })
      const none: object = { boundTo: a.self() }
      await expect(state.put('mine', 'x', none)).rejects.toThrow('boundTo: expected null, or a member')
      await expect(state.transact([{ put: 'mine', value: 'x', ...none }])).rejects.toThrow(
        'boundTo: expected null, or a member',
      )
      const presence = await a.join()
      await state.put('mine', 'x', { boundTo: presence })
      await expect(state.update('mine', (value) => `${value}!`, none)).rejects.toThrow(
        'boundTo: expected null, or a member',
      )
      expect(await state.get('mine')).toMatchObject({ value: 'x', boundTo: { instance: a.instance } })
      await a.leave()
      expect((await state.entries()).entries).toEqual([])
    })

    it('is deleted with all others of its member, in several states, in any number', async () => {
      const cluster = randomUUID()
      const a = member({ cluster, instance: 'a' })
      const states = [newState<number>({ cluster, keepChanges: 5 }), newState<number>({ cluster })]
      const boundTo = await a.join()
      for (const state of states) {
        for (let n = 0; n < 6; n++) {
          const operations = Array.from({ length: 100 }, (_, k) => ({ put: `k ${n}/${k}`, value: n, boundTo }))
          await state.transact(operations)
        }
        await state.put('other', 1)
      }
      await a.close()
      for (const state of states) {
        expect((await state.entries()).entries).toMatchObject([{ key: 'other' }])
        const versionOf = async (key: string) => (await state.get(key)).version
        // The first 500 by their keys, then the others.
        const [first, last, next] = await Promise.all(['k 0/0', 'k 4/99', 'k 5/0'].map(versionOf))
        expect(last).toBe(first)
        expect(next).toBeGreaterThan(first as number)
      }
    })

    it('is refused when that generation is over', async () => {
      const cluster = randomUUID()
      const state = newState<number>({ cluster })
      const [before, after] = [member({ cluster, instance: 'a' }), member({ cluster, instance: 'a' })]
      const old = await before.join()
      await state.put('k', 1, { boundTo: old })
      const current = await after.join()
      expect(await state.get('k')).toMatchObject({ value: undefined })
      await expect(state.put('k', 1, { boundTo: old })).rejects.toMatchObject({
        code: 'cluster.member_evicted',
        generation: old.generation,
      })
      await state.put('k', 2, { boundTo: current })
      await before.close()
      expect(await state.get('k')).toMatchObject({ value: 2 })
    })
  })
}
