import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { exhaust } from '../support/exhaust.ts'
import { casRegister, type RegisterAction, type VersionedAction, versionedRegister } from '../support/history/models.ts'
import { checkLinearizable, type Operation } from '../support/history/wgl.ts'
import { until } from '../support/until.ts'
import type { ClusterContext } from './cluster.ts'

export function stateCases({ state: newState, store }: ClusterContext): void {
  /** Two processes with the same state. */
  const pair = <T>(options: Parameters<typeof newState<T>>[0] = {}) => {
    const name = randomUUID()
    return [newState<T>({ name, ...options }), newState<T>({ name, ...options })] as const
  }

  describe('a shared state', () => {
    it('returns values to all, with their versions', async () => {
      const [a, b] = pair()
      const values = [1, 'ü\n"{} ', null, true, { list: [1, { deep: 'x' }] }, [], -0.5, '', { '': 1 }]
      for (const [n, value] of values.entries()) {
        const { version } = await a.put(`key ${n}`, value)
        expect(await b.get(`key ${n}`)).toEqual({ key: `key ${n}`, value, version })
      }
      const { entries, version } = await b.entries('key ')
      expect(entries.map(({ value }) => value)).toEqual(values)
      expect(version).toBe(entries.at(-1)?.version)
    })

    it('keeps keys apart, with any characters', async () => {
      const state = newState<string>()
      const keys = ['a', 'a b', ' a', 'a ', 'put a', 'constructor', '{', 'ü\n', '-0', 'k'.repeat(500)]
      for (const key of keys) await state.put(key, key)
      for (const key of keys) expect(await state.get(key)).toMatchObject({ value: key })
      expect((await state.entries()).entries.map(({ key }) => key)).toEqual(keys.toSorted())
    })

    it('gives strictly rising versions over all keys and processes', async () => {
      const [a, b] = pair<number>()
      let last = 0
      for (let n = 0; n < 20; n++) {
        const { version } = await (n % 2 === 0 ? a : b).put(`k${n % 3}`, n)
        expect(version).toBeGreaterThan(last)
        last = version
      }
    })

    it('writes only over the version that was named', async () => {
      const [a, b] = pair<number>()
      const first = await a.put('k', 1, { ifVersion: 0 })
      const second = await b.put('k', 2, { ifVersion: first.version })
      await expect(a.put('k', 3, { ifVersion: first.version })).rejects.toMatchObject({
        code: 'cluster.state_conflict',
        key: 'k',
        expected: first.version,
        version: second.version,
        retryable: true,
      })
      await expect(a.put('k', 3, { ifVersion: 0 })).rejects.toMatchObject({ version: second.version })
      await expect(a.delete('k', { ifVersion: 7 })).rejects.toMatchObject({ code: 'cluster.state_conflict' })
      expect(await a.get('k')).toMatchObject({ value: 2 })
    })

    it('distinguishes a recreated key from the deleted one', async () => {
      const [a, b] = pair<number>()
      expect(await a.get('k')).toEqual({ key: 'k', value: undefined, version: 0 })
      const first = await a.put('k', 1)
      const gone = await b.delete('k')
      expect(gone).toMatchObject({ changed: true })
      expect(await a.get('k')).toEqual({ key: 'k', value: undefined, version: gone.version })
      expect(await b.delete('k')).toMatchObject({ changed: false })
      await b.put('k', 1)
      await expect(a.put('k', 2, { ifVersion: first.version })).rejects.toMatchObject({ expected: first.version })
      await expect(a.put('k', 2, { ifVersion: gone.version })).rejects.toMatchObject({ expected: gone.version })
      await b.delete('k')
      const tomb = (await a.get('k')).version
      await a.put('k', 3, { ifVersion: tomb })
    })

    it('forgets deletions after keepDeletedMs', async () => {
      const state = newState<number>({ keepDeletedMs: 0 })
      await state.put('k', 1)
      await state.delete('k')
      // Versions are times: within one tick of the store's clock, which may be a millisecond, nothing is in the past.
      await setTimeout(5)
      await state.put('other', 1)
      expect(await state.get('k')).toEqual({ key: 'k', value: undefined, version: 0 })
    })

    it('loses no update, with any number of concurrent counters', async () => {
      const states = pair<number>()
      const counts = Array.from({ length: 60 }, (_, n) =>
        (states[n % 2] as (typeof states)[0]).update('count', (value) => (value ?? 0) + 1),
      )
      await Promise.all(counts)
      expect(await states[0].get('count')).toMatchObject({ value: 60 })
    })

    it('writes a value that the change has written into', async () => {
      const [a, b] = pair<{ n: number }>()
      await a.put('k', { n: 1 })
      const change = (value: { n: number } | undefined): { n: number } | undefined => {
        if (value !== undefined) value.n++
        return value
      }
      const { version } = await a.update('k', change)
      expect(await b.get('k')).toMatchObject({ value: { n: 2 }, version })
    })

    it('updates by the value: deletes it, keeps it, gives up, passes errors on', async () => {
      const [a, b] = pair<number>()
      const { version } = await a.put('k', 1)
      expect(await a.update('k', (value) => value)).toEqual({ key: 'k', version })
      await a.update('k', () => undefined)
      expect(await b.get('k')).toMatchObject({ value: undefined })
      const error = new Error('mine')
      await expect(a.update('k', () => Promise.reject(error))).rejects.toBe(error)
      const contested = a.update('k', (value) => b.put('k', 5).then(() => (value ?? 0) + 1), { maxAttempts: 3 })
      await expect(contested).rejects.toMatchObject({ code: 'cluster.state_conflict', key: 'k' })
      expect(await a.get('k')).toMatchObject({ value: 5 })
    })

    it('writes several keys at one version, all or none', async () => {
      const [a, b] = pair<number>()
      const { version: from } = await a.put('from', 10)
      const { version: to } = await a.put('to', 0)
      const moved = await b.transact([
        { put: 'from', value: 4, ifVersion: from },
        { put: 'to', value: 6, ifVersion: to },
        { check: 'frozen', ifVersion: 0 },
      ])
      const { entries } = await a.entries()
      expect(entries).toEqual([
        { key: 'from', value: 4, version: moved.version },
        { key: 'to', value: 6, version: moved.version },
      ])
      const stale = [
        { put: 'to', value: 7 },
        { delete: 'from', ifVersion: from },
      ] as const
      await expect(b.transact(stale)).rejects.toMatchObject({ key: 'from', version: moved.version })
      await a.put('frozen', 1)
      await expect(b.transact([{ delete: 'to' }, { check: 'frozen', ifVersion: 0 }])).rejects.toMatchObject({
        key: 'frozen',
      })
      expect(await b.get('to')).toMatchObject({ value: 6 })
      expect(await b.transact([{ check: 'to', ifVersion: moved.version }])).toMatchObject({ changed: false })
    })

    it('is linearizable under compare-and-set of many at once', async () => {
      const states = pair<number>()
      const operations: Operation<RegisterAction<number>>[] = []
      const versioned: Operation<VersionedAction<number>>[] = []
      let next = 0
      const worker = async (process: number): Promise<void> => {
        const state = states[process % 2] as (typeof states)[0]
        for (let n = 0; n < 25; n++) {
          const readAt = performance.now()
          const { value, version } = await state.get('k')
          const returnedAt = performance.now()
          const base = { process: `p${process}`, invokedAt: readAt, returnedAt }
          operations.push({ ...base, action: { do: 'read', value } })
          versioned.push({ ...base, action: { do: 'read', value, version } })
          const wanted = n % 6 === 5 ? undefined : ++next
          const invokedAt = performance.now()
          const ifVersion = value === undefined ? 0 : version
          const writing =
            wanted === undefined ? state.delete('k', { ifVersion }) : state.put('k', wanted, { ifVersion })
          const outcome = await writing.then(
            (done) => ('changed' in done && !done.changed ? 'nothing' : done.version),
            (error: { code: string }) => error.code,
          )
          const at = { process: `p${process}`, invokedAt, returnedAt: performance.now() }
          if (outcome === 'nothing') versioned.push({ ...at, action: { do: 'read', value: undefined } })
          else {
            expect(outcome === 'cluster.state_conflict' || typeof outcome === 'number').toBe(true)
            const told = typeof outcome === 'number' ? outcome : 'conflict'
            versioned.push({ ...at, action: { do: 'write', value: wanted, expected: ifVersion, outcome: told } })
          }
        }
      }
      await Promise.all([0, 1, 2, 3, 4].map(worker))
      expect(checkLinearizable(versionedRegister<number>(), versioned)).toMatchObject({ verdict: 'linearizable' })
      expect(versioned).toHaveLength(250)
      // The reads alone must already be those of one register; a checker that accepts anything would not see this.
      const reads = operations.slice(0, 40)
      const forged = [
        ...reads,
        { process: 'x', action: { do: 'read', value: -1 }, invokedAt: 0, returnedAt: 1 } as const,
      ]
      expect(checkLinearizable(casRegister<number>(), forged).verdict).toBe('not linearizable')
    })

    it('refuses values that it cannot restore', async () => {
      const state = newState({ maxValueBytes: 100 })
      const invalid = { code: 'cluster.data_invalid', retryable: false }
      for (const key of ['', '__proto__', '\ud800', 5, undefined, null] as string[]) {
        await expect(state.put(key, 1)).rejects.toMatchObject(invalid)
        await expect(state.get(key)).rejects.toMatchObject(invalid)
        await expect(state.delete(key)).rejects.toMatchObject(invalid)
      }
      const circle: Record<string, unknown> = {}
      circle['self'] = { circle }
      const odd = [undefined, Number.NaN, Number.POSITIVE_INFINITY, 1n, Symbol('x'), () => 1, new Date(0), new Map()]
      for (const value of [...odd, new (class Price {})(), circle, { at: [new Set()] }, [undefined]]) {
        await expect(state.put('k', value)).rejects.toMatchObject(invalid)
      }
      await expect(state.put('k', { at: [new Date(0)] })).rejects.toThrow('$.at[0] is an instance of Date')
      const large = { code: 'cluster.data_too_large', retryable: false }
      await expect(state.put('k', 'x'.repeat(99))).rejects.toMatchObject({ ...large, bytes: 101, maxBytes: 100 })
      await expect(state.put('k'.repeat(513), 1)).rejects.toMatchObject({ ...large, maxBytes: 512 })
      expect((await state.entries()).entries).toEqual([])
    })

    it('refuses a value of which its schema makes undefined: a reader would take it for a key that is gone', async () => {
      const name = randomUUID()
      const schema = z.unknown().transform((value) => (value === 'gone' ? undefined : value))
      const state = newState({ name, schema } as never)
      await expect(state.put('k', 'gone')).rejects.toMatchObject({ code: 'core.schema' })
      await newState({ name }).put('k', 'gone')
      await expect(state.get('k')).rejects.toMatchObject({ code: 'core.schema' })
      const mirror = await state.mirror()
      expect(mirror.get('k')).toMatchObject({ value: undefined, error: { code: 'core.schema' } })
      const told: unknown[] = []
      state.watch((event) => void told.push(event))
      await newState({ name }).put('k2', 'gone')
      await until('it is told, and kept', () => mirror.get('k2')?.error !== undefined)
      expect(mirror.entries().map(({ key }) => key)).toEqual(['k', 'k2'])
    })

    it('a value that no longer fits its schema rejects in get and entries(), naming the key; a mirror has all', async () => {
      const name = randomUUID()
      const before = newState({ name })
      await before.put('new', { price: 1 })
      await before.put('old', 7)
      const state = newState({ name, schema: z.object({ price: z.number() }) } as never)
      expect(await state.get('new')).toMatchObject({ value: { price: 1 } })
      await expect(state.get('old')).rejects.toThrow('"old" of state')
      await expect(state.entries()).rejects.toThrow('"old" of state')
      const entries = (await state.mirror()).entries()
      expect(entries.map(({ key, error }) => [key, error === undefined])).toEqual([
        ['new', true],
        ['old', false],
      ])
    })

    it('without a cluster uses the cluster of its own name, as documented', async () => {
      const name = randomUUID()
      await newState({ name }).put('k', 1)
      expect(await newState({ name, cluster: name }).get('k')).toMatchObject({ value: 1 })
      expect(await newState({ name, cluster: randomUUID() }).get('k')).toMatchObject({ value: undefined })
    })

    it('checks values against its schema, written and read', async () => {
      const name = randomUUID()
      const schema = z.object({ price: z.number().positive(), at: z.coerce.date().optional() })
      const raw = newState({ name })
      const state = newState({ name, schema } as never) as unknown as ReturnType<typeof newState<{ price: number }>>
      await expect(state.put('k', { price: -1 })).rejects.toMatchObject({ code: 'core.schema' })
      await state.put('k', { price: 5, at: '2026-11-20' } as never)
      expect((await state.get('k')).value).toEqual({ price: 5, at: new Date('2026-11-20') })
      await raw.put('k', { price: 'free' })
      await expect(state.get('k')).rejects.toMatchObject({ code: 'core.schema' })
      const mirror = await state.mirror()
      expect(mirror.get('k')).toMatchObject({ value: undefined, error: { code: 'core.schema' } })
    })

    it('names the option that is wrong', async () => {
      const state = newState()
      await expect(state.put('k', 1, { ifVersion: -1 })).rejects.toThrow('ifVersion')
      await expect(state.put('k', 1, { boundTo: { instance: 'a', generation: 1 } })).rejects.toThrow('has no cluster')
      await expect(state.transact([])).rejects.toThrow('1 to 128 operations')
      await expect(state.transact([{ delete: 'a' }, { put: 'a', value: 1 }])).rejects.toThrow('each key once')
      expect(() => state.watch(() => {}, { after: -1 })).toThrow('after')
    })

    it('stops waiting with the reason of its signal', async () => {
      const state = newState()
      const reason = new Error('not any more')
      await expect(state.put('k', 1, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
      await expect(state.get('k', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
      expect((await state.entries()).entries).toEqual([])
    })

    it('closes permanently, and its store does not', async () => {
      const shared = store()
      const state = newState({ store: shared })
      const watching = exhaust(state.events())
      const mirroring = await state.mirror()
      await state.put('k', 1)
      await state.close()
      await state.close()
      await watching
      expect(mirroring.get('x')).toBeUndefined()
      expect(state.health()).toEqual({ status: 'closed' })
      await expect(state.get('k')).rejects.toMatchObject({ code: 'cluster.closed', retryable: false })
      await expect(state.put('k', 1)).rejects.toMatchObject({ code: 'cluster.closed' })
      await expect(state.mirror()).rejects.toMatchObject({ code: 'cluster.closed' })
      expect(() => state.watch(() => {})).toThrow(expect.objectContaining({ code: 'cluster.closed' }))
      expect(await newState({ store: shared, name: state.name }).get('k')).toMatchObject({ value: 1 })
    })
  })
}
