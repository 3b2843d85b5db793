import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { lagging } from '../support/cluster/lagging.ts'
import type { StateEvent } from '../support/inside/election.ts'
import { until } from '../support/until.ts'
import type { ClusterContext } from './cluster.ts'

/** A watcher that continues after a version, in a process that learns of log entries later than the store has them. */
export function resumeCases({ store, state, wipe }: ClusterContext): void {
  async function setup(written: number) {
    const name = randomUUID()
    const late = lagging(store())
    const writer = state<number>({ name })
    const watcher = state<number>({ name, store: late.store })
    const mirror = await watcher.mirror()
    const first = (await writer.put('k', 0)).version
    await until('the mirror has it', () => mirror.version === first)
    late.hold()
    const versions: number[] = []
    for (let n = 1; n <= written; n++) versions.push((await writer.put('k', n)).version)
    const events: StateEvent<number>[] = []
    const changes = (): number[] => events.flatMap(({ type, version }) => (type === 'change' ? [version] : []))
    const listener = (event: StateEvent<number>): void => void events.push(event)
    return { ...late, writer, watcher, mirror, first, versions, events, changes, listener }
  }

  describe('a watch that continues after a version, over a log with delays,', () => {
    it('gets each later change once, in order', async () => {
      const { release, writer, watcher, mirror, first, versions, changes, events, listener } = await setup(3)
      watcher.watch(listener, { after: first })
      await until('the log has told', () => changes().length === 3)
      release()
      const last = (await writer.put('k', 9)).version
      await until('the mirror is there', () => mirror.version === last)
      await until('the last is told', () => changes().includes(last))
      expect(changes()).toEqual([...versions, last])
      expect(events).toHaveLength(4)
    })

    it('does not get the version itself, though it reaches this process later', async () => {
      const { release, delayAnswer, writer, watcher, mirror, versions, changes, events, listener } = await setup(3)
      const asked = delayAnswer('changes')
      const watch = watcher.watch(listener, { after: versions[2] as number })
      await asked.arrived
      asked.go()
      await until('it listens', () => watch.version === versions[2])
      release()
      await until('the mirror is there', () => mirror.version === versions[2])
      const last = (await writer.put('k', 9)).version
      await until('the last is told', () => changes().includes(last))
      expect(changes()).toEqual([last])
      expect(events).toHaveLength(1)
      expect(watch.version).toBe(last)
    })

    it('begins without a snapshot in a process that has read nothing yet', async () => {
      const { watcher: _, ...rest } = await setup(3)
      rest.release()
      const fresh = state<number>({ name: rest.writer.name, store: store() })
      fresh.watch(rest.listener, { after: rest.versions[2] as number })
      const last = (await rest.writer.put('k', 9)).version
      await until('the last is told', () => rest.changes().includes(last))
      expect(rest.events.map(({ type, version }) => [type, version])).toEqual([['change', last]])
    })

    it('gets everything anew when the store lost its data, also while its log was read', async () => {
      const { release, delayAnswer, writer, watcher, versions, events, listener } = await setup(3)
      const delayed = delayAnswer('changes')
      watcher.watch(listener, { after: versions[2] as number })
      await delayed.arrived
      await wipe()
      const last = (await writer.put('other', 1)).version
      release()
      await until('this process knows', async () => (await watcher.mirror()).get('k') === undefined)
      delayed.go()
      await until('it is told', () => events.some(({ type }) => type === 'snapshot'))
      const told = events.findLast(({ type }) => type === 'snapshot')
      expect(told).toMatchObject({ reason: 'rollback', version: last, entries: [{ key: 'other', value: 1 }] })
      const after = (await writer.put('k', 9)).version
      await until('it goes on', () => events.at(-1)?.version === after)
    })
  })
}
