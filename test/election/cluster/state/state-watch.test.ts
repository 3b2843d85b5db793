import { ClusterError, createSharedState } from 'concordat/cluster'
import type { ClusterStore, LogEntry } from 'concordat/extension'
import { memoryStateServer, memoryStateStore } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import type { StateEvent } from '../../../support/inside/election.ts'
import { drain } from '../../../support/locks/fake-clock.ts'
import { until } from '../../../support/until.ts'

/** A watcher whose store hands entries over as `deliver` does, and a writer whose store does not. */
function setup(
  deliver: (entries: readonly LogEntry[], hand: (entries: readonly LogEntry[]) => void) => void,
  { fails = [], ...options }: { readonly keepChanges?: number; readonly fails?: readonly string[] } = {},
) {
  const server = memoryStateServer()
  const inner = memoryStateStore({ server })
  const calls: string[] = []
  const failing = new Set<string>(fails)
  const store = new Proxy(inner, {
    get: (target, name: keyof ClusterStore) => {
      const value = target[name]
      if (name === 'follow') {
        const follow: ClusterStore['follow'] = (log, after, follower) =>
          inner.follow(log, after, {
            ...follower,
            onEntries: (entries) => deliver(entries, (those) => follower.onEntries(those)),
          })
        return follow
      }
      if (typeof value !== 'function') return value
      return (...args: never[]) => {
        calls.push(name)
        if (failing.has(name))
          return Promise.reject(
            new ClusterError('cluster.store_unavailable', {
              store: 'scripted',
              outcome: 'unknown',
              detail: 'no answer',
            }),
          )
        return (value as (...values: never[]) => unknown).apply(target, args)
      }
    },
  })
  const writer = createSharedState<number>({ store: memoryStateStore({ server }), name: 's', ...options })
  const watcher = createSharedState<number>({ store, name: 's', ...options })
  const seen: Array<StateEvent<number>> = []
  watcher.watch((event) => void seen.push(event))
  const close = async (): Promise<void> => {
    await watcher.close()
    await writer.close()
  }
  return { writer, watcher, seen, calls, failing, close, versions: () => seen.slice(1).map(({ version }) => version) }
}

describe('a watch over a store that', () => {
  it('loses every third entry has all of them, from the log', async () => {
    let n = 0
    const { writer, versions, seen, close } = setup((entries, hand) => {
      const left = entries.filter(() => ++n % 3 !== 0)
      if (left.length > 0) hand(left)
    })
    await until('it has begun', () => seen.length === 1)
    const written: number[] = []
    for (let k = 0; k < 31; k++) written.push((await writer.put(`k${k % 4}`, k)).version)
    await until('it has all', () => versions().length === 31)
    expect(versions()).toEqual(written)
    expect(seen.slice(1).every(({ type }) => type === 'change')).toBe(true)
    await close()
  })

  it('repeats entries and delivers them in the wrong order reports each once, in order', async () => {
    let held: readonly LogEntry[] = []
    const { writer, versions, seen, close } = setup((entries, hand) => {
      hand([...entries, ...held])
      hand([...held, ...entries])
      held = entries
    })
    await until('it has begun', () => seen.length === 1)
    const written: number[] = []
    for (let k = 0; k < 20; k++) written.push((await writer.put('k', k)).version)
    await until('it has all', () => versions().at(-1) === written.at(-1))
    expect(versions()).toEqual(written)
    await close()
  })

  it('loses more than the log keeps reports it, with a snapshot', async () => {
    let isMute = true
    const { writer, seen, close } = setup(
      (entries, hand) => {
        if (!isMute) hand(entries)
      },
      { keepChanges: 3 },
    )
    await until('it has begun', () => seen.length === 1)
    for (let k = 0; k < 10; k++) await writer.put('k', k)
    isMute = false
    await writer.put('k', 10)
    await until('it has caught up', () => seen.length === 2)
    expect(seen[1]).toMatchObject({ type: 'snapshot', reason: 'behind', entries: [{ key: 'k', value: 10 }] })
    await close()
  })

  it('fails while the gap is fixed repeats the request until it is answered', async () => {
    let isMute = true
    const { writer, seen, failing, calls, versions, close } = setup((entries, hand) => {
      if (!isMute) hand(entries)
    })
    await until('it has begun', () => seen.length === 1)
    const written = [(await writer.put('k', 1)).version]
    isMute = false
    failing.add('changes')
    written.push((await writer.put('k', 2)).version)
    await until('it asks', () => calls.filter((name) => name === 'changes').length >= 2)
    expect(seen).toHaveLength(1)
    failing.delete('changes')
    await until('it has all', () => versions().length === 2)
    expect(versions()).toEqual(written)
    await close()
  })

  it('fails at the first reading repeats it until an answer, or until close', async () => {
    const { writer, watcher, seen, calls, close } = setup((entries, hand) => hand(entries), { fails: ['read'] })
    await until('it asks', () => calls.filter((name) => name === 'read').length >= 2)
    expect(seen).toEqual([])
    const mirroring = watcher.mirror().catch((error: unknown) => error)
    await writer.put('k', 1)
    await close()
    expect(await mirroring).toMatchObject({ code: 'cluster.closed' })
    await drain()
    expect(seen).toEqual([])
  })
})
