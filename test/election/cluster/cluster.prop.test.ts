import { createSharedState } from 'concordat/cluster'
import type { ClusterStore, LogEntry } from 'concordat/extension'
import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { StateEvent, StateOperation } from '../../support/inside/election.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'

const KEYS = ['a', 'a/b', 'constructor', 'ü ', 'z'] as const
const key = fc.constantFrom(...KEYS)

/** `guess`: which of the versions seen so far is named as the condition; -1 none, 0 "no value". */
const write = fc.record({
  kind: fc.constantFrom('put' as const, 'put' as const, 'delete' as const),
  key,
  value: fc.jsonValue({ maxDepth: 2 }),
  guess: fc.integer({ min: -1, max: 6 }),
})

interface Entry {
  readonly value: unknown
  readonly version: number
}

/** The state as a plain map: the contract of `state.ts`, implemented independently. */
class Model {
  readonly map = new Map<string, Entry>()
  readonly tombs = new Map<string, number>()
  readonly versions: number[] = [0]

  versionOf(key: string): number {
    return this.map.get(key)?.version ?? this.tombs.get(key) ?? 0
  }

  allows(key: string, ifVersion: number | undefined): boolean {
    if (ifVersion === undefined) return true
    return ifVersion === 0 ? !this.map.has(key) : this.versionOf(key) === ifVersion
  }

  apply(key: string, value: unknown, isDelete: boolean, version: number): void {
    if (isDelete) {
      if (this.map.delete(key)) this.tombs.set(key, version)
      return
    }
    this.map.set(key, { value, version })
    this.tombs.delete(key)
  }
}

describe('a shared state', () => {
  it('is a map with versions, for any writes and conditions', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(write, { minLength: 1, maxLength: 3 }), { maxLength: 30 }), async (steps) => {
        await using state = createSharedState({ store: memoryStateStore(), name: 's' })
        const model = new Model()
        for (const step of steps) {
          const unique = [...new Map(step.map((one) => [one.key, one])).values()]
          const conditions = unique.map(({ guess }) => (guess < 0 ? undefined : model.versions.at(-1 - guess)))
          const operations = unique.map((one, n): StateOperation<unknown> => {
            const ifVersion = conditions[n]
            return one.kind === 'delete'
              ? { delete: one.key, ifVersion }
              : { put: one.key, value: one.value, ifVersion }
          })
          const fits = unique.every((one, n) => model.allows(one.key, conditions[n]))
          const done = await state.transact(operations).catch((error: { code: string }) => error.code)
          expect(typeof done === 'string' ? done : 'committed').toBe(fits ? 'committed' : 'cluster.state_conflict')
          if (typeof done === 'string') continue
          for (const { key: name, value, kind } of unique) model.apply(name, value, kind === 'delete', done.version)
          if (!done.changed) continue
          expect(done.version).toBeGreaterThan(model.versions.at(-1) as number)
          model.versions.push(done.version)
        }
        for (const name of KEYS) {
          const found = await state.get(name)
          expect(found.version).toBe(model.versionOf(name))
          // -0 becomes 0, as JSON has it.
          expect(JSON.stringify(found.value)).toBe(JSON.stringify(model.map.get(name)?.value))
        }
        const { entries } = await state.entries('a')
        expect(entries.map((entry) => entry.key)).toEqual(
          [...model.map.keys()].filter((one) => one.startsWith('a')).sort(),
        )
      }),
      { numRuns: 150 },
    )
  })

  it('reaches every watcher completely, from any beginning, at any speed, with any length of the log', async () => {
    const watcher = fc.record({
      startsAt: fc.nat(30),
      after: fc.option(fc.nat(30), { nil: undefined }),
      prefix: fc.constantFrom('', 'a', 'none'),
      takesEvery: fc.integer({ min: 1, max: 9 }),
    })
    const options = { keepChanges: fc.integer({ min: 1, max: 40 }), maxPending: fc.integer({ min: 1, max: 20 }) }
    await fc.assert(
      fc.asyncProperty(
        fc.array(write, { minLength: 1, maxLength: 30 }),
        fc.array(watcher, { minLength: 1, maxLength: 4 }),
        fc.record(options),
        async (writes, watchers, { keepChanges, maxPending }) => {
          await using state = createSharedState({ store: memoryStateStore(), name: 's', keepChanges, maxPending })
          const versions = [0]
          const running: Array<{ take(): Promise<void>; finish(): Promise<void> }> = []
          for (const [n, one] of writes.entries()) {
            for (const each of watchers) if (each.startsAt === n) running.push(follow(versions, each))
            const done =
              one.kind === 'delete' ? await state.delete(one.key) : await state.put(one.key, one.value).then(changed)
            if (done.changed) versions.push(done.version)
            for (const [m, each] of watchers.entries()) if (n % each.takesEvery === 0) await running[m]?.take()
          }
          const { entries } = await state.entries()
          const last = await state.put('a', 'end')
          versions.push(last.version)
          expect(entries.length).toBeLessThanOrEqual(KEYS.length)
          const truth = (await state.entries()).entries
          for (const each of running) await each.finish()

          function follow(known: readonly number[], { after, prefix }: { after: number | undefined; prefix: string }) {
            const from = after === undefined ? undefined : known[Math.min(after, known.length - 1)]
            const feed = state.events({ prefix, after: from })
            let pending: Promise<IteratorResult<StateEvent<unknown>>> | undefined
            const map = new Map<string, unknown>()
            const seen: StateEvent<unknown>[] = []
            let isBase = from === 0 || from === undefined
            const take = async (): Promise<void> => {
              pending ??= feed.next()
              const next = await Promise.race([pending, drain()])
              if (next === undefined || next.done === true) return
              pending = undefined
              apply(next.value)
            }
            const apply = (event: StateEvent<unknown>): void => {
              expect(event.version).toBeGreaterThanOrEqual(seen.at(-1)?.version ?? 0)
              if (event.type === 'change') expect(event.version).toBeGreaterThan(seen.at(-1)?.version ?? from ?? 0)
              seen.push(event)
              if (event.type === 'snapshot') {
                isBase = true
                map.clear()
              }
              const parts = event.type === 'snapshot' ? event.entries : event.changes
              for (const { key: name, value } of parts) {
                expect(name.startsWith(prefix)).toBe(true)
                if (value === undefined) map.delete(name)
                else map.set(name, value)
              }
            }
            const finish = async (): Promise<void> => {
              const wanted = prefix === 'none' ? 0 : last.version
              while ((seen.at(-1)?.version ?? 0) < wanted) {
                const next = await (pending ?? feed.next())
                pending = undefined
                if (next.done === true) throw new Error('ended too early')
                apply(next.value)
              }
              const own = truth.filter((entry) => entry.key.startsWith(prefix))
              if (isBase) expect(map).toEqual(new Map(own.map((entry) => [entry.key, entry.value])))
              await feed.return?.()
            }
            return { take, finish }
          }
        },
      ),
      { numRuns: 200 },
    )
  })
})

const changed = ({ version }: { readonly version: number }) => ({ version, changed: true })

/** Any single store operation, drawn as numbers, so that two stores can be given the same one. */
const instances = fc.constantFrom('x', 'y')
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('join' as const), instance: instances, again: fc.boolean() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('beat' as const), instance: instances, old: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), instance: instances }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(10, 60, 150) }) },
)

describe('members', () => {
  it('have generations that rise, one at a time, and a log whose story is possible', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const clock = new FakeClock()
        const store = memoryStateStore({ server: memoryStateServer({ clock }) })
        const joins = new Map<string, { id: string; generation: number }[]>()
        let joined = 0
        for (const one of steps) {
          if (one.do === 'pass') clock.stall(one.ms)
          else await act(store, one, joins, () => String(++joined))
        }
        const reply = await store.changes({ cluster: 'c', state: undefined }, 0, 1_000)
        if (reply.status !== 'ok') throw new Error(reply.status)
        const generations = [...joins.values()].flat().map(({ generation }) => generation)
        expect(new Set(generations).size).toBe(generations.length)
        checkStory(reply.entries)
      }),
      { numRuns: 300 },
    )
  })
})

async function act(
  store: ClusterStore,
  one: { do: 'join' | 'beat' | 'leave'; instance: string; again?: boolean; old?: boolean },
  joins: Map<string, { id: string; generation: number }[]>,
  newId: () => string,
): Promise<void> {
  const { instance } = one
  const own = joins.get(instance) ?? []
  joins.set(instance, own)
  const chosen = one.old === true ? own[0] : own.at(-1)
  if (one.do === 'beat') {
    if (chosen !== undefined) await store.beat('c', instance, chosen.generation, 100)
    return
  }
  if (one.do === 'leave') {
    if (chosen !== undefined) await store.leave('c', instance, chosen.id, false)
    return
  }
  const id = one.again === true && own.at(-1) !== undefined ? (own.at(-1)?.id as string) : newId()
  const timing = { suspectAfterMs: 50, deadAfterMs: 120 }
  const reply = await store.join({ cluster: 'c', instance, joinId: id, json: '{"service":"s","meta":{}}', ...timing })
  if (reply.status !== 'joined') throw new Error(reply.status)
  if (own.at(-1)?.generation !== reply.generation) own.push({ id, generation: reply.generation })
}

/** joined first, at most one end, suspect and recovered by turns, generations of one instance one after the other. */
function checkStory(entries: readonly LogEntry[]): void {
  const status = new Map<string, { generation: number; is: string }>()
  let highest = 0
  for (const { changes } of entries) {
    for (const change of changes) {
      if (!('member' in change)) throw new Error('not about a member')
      const { instance, generation } = change.member
      const now = status.get(instance)
      if (change.kind === 'joined') {
        expect(now).toBeUndefined()
        expect(generation).toBeGreaterThan(highest)
        highest = generation
        status.set(instance, { generation, is: 'alive' })
        continue
      }
      expect(now?.generation).toBe(generation)
      if (change.kind === 'suspect') expect(now?.is).toBe('alive')
      if (change.kind === 'recovered' || change.kind === 'dead') expect(now?.is).toBe('suspect')
      if (change.kind === 'suspect' || change.kind === 'recovered') {
        status.set(instance, { generation, is: change.kind === 'suspect' ? 'suspect' : 'alive' })
      } else if (change.kind !== 'updated') status.delete(instance)
    }
  }
}
