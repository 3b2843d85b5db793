import type { SharedState } from 'concordat/cluster'
import { expect, it } from 'vitest'
import type { Link } from '../../faults/harness/link.ts'
import { clusterOn } from '../../support/cluster/on-redis.ts'
import { type VersionedAction, versionedRegister } from '../../support/history/models.ts'
import { checkLinearizable, type Operation } from '../../support/history/wgl.ts'
import type { StateEvent } from '../../support/inside/election.ts'
import { describeWith, startServer, withRedis } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

describeWith(['redis'], 'writes whose answers are lost', { private: true }, () => {
  const { link, state } = clusterOn(() => startServer('redis'))

  it('a write whose answer is lost is applied once, and its outcome is reported', async () => {
    const near = await link()
    const writer = state({ store: near.store, retryForMs: 20_000 })
    const reader = state()
    await writer.put('warm', 0)
    for (const direction of ['replies', 'requests', 'both'] as const) {
      const { version } = await reader.put('k', 0)
      near.link.hold(direction)
      const writing = writer.put('k', 1, { ifVersion: version })
      const writingAnyway = writer.put(`other ${direction}`, 1)
      await until('the first try has failed', () => writer.health().status === 'down')
      near.link.heal()
      const [done, other] = await Promise.all([writing, writingAnyway])
      expect(await reader.get('k')).toMatchObject({ value: 1, version: done.version })
      expect(await reader.get(`other ${direction}`)).toMatchObject({ value: 1, version: other.version })
    }
  })

  it('a write whose store stays down is reported as unknown, and one that was never sent as not done', async () => {
    const near = await link()
    const writer = state({ store: near.store, retryForMs: 500 })
    await writer.put('k', 0)
    near.link.hold('both')
    const error = await writer.put('k', 1).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'cluster.store_unavailable', outcome: 'unknown', retryable: true })
    near.link.cut()
    await until('the connection is lost', () => writer.health().status === 'down')
    const second = await writer.put('k', 2).catch((caught: unknown) => caught)
    expect(second).toMatchObject({ code: 'cluster.store_unavailable', outcome: 'not_done' })
    await expect(writer.get('k')).rejects.toMatchObject({ code: 'cluster.store_unavailable' })
  })

  it('is linearizable per key while answers, requests and connections are lost', async () => {
    const links = await Promise.all([link(), link(), link()])
    const states = links.map(({ store: own }, n) => state({ store: own, retryForMs: n === 1 ? 0 : 700 }))
    const operations: Array<Operation<VersionedAction<number>>> = []
    const unknowns = { count: 0, conflicts: 0, done: 0 }
    let next = 0
    let working = true
    const record = (process: string, invokedAt: number, action: VersionedAction<number>, known = true): void => {
      operations.push({ process, invokedAt, returnedAt: known ? performance.now() : Number.POSITIVE_INFINITY, action })
    }
    /** Last known entry of each worker; most operations are writes that expect that version. */
    const known: Array<{ readonly value: number | undefined; readonly version: number } | undefined> = []
    const read = async (mine: SharedState<number>, process: string) => {
      const invokedAt = performance.now()
      const found = await mine.get('k').catch(() => undefined)
      if (found !== undefined) record(process, invokedAt, { do: 'read', value: found.value, version: found.version })
      return found
    }
    const step = async (n: number, process: string): Promise<void> => {
      const mine = states[n] as SharedState<number>
      const before = known[n] ?? (await read(mine, process))
      known[n] = undefined
      if (before === undefined) return
      const expected = before.value === undefined ? 0 : before.version
      const value = next % 5 === 4 && before.value !== undefined ? undefined : ++next
      const invokedAt = performance.now()
      const options = { ifVersion: expected }
      const writing = value === undefined ? mine.delete('k', options) : mine.put('k', value, options)
      await writing.then(
        ({ version }) => {
          unknowns.done += 1
          if (Number(process.at(-1)) < 7) known[n] = { value, version }
          record(process, invokedAt, { do: 'write', value, expected, outcome: version })
        },
        (error: { code: string; outcome?: string }) => {
          if (error.code === 'cluster.state_conflict') {
            unknowns.conflicts += 1
            record(process, invokedAt, { do: 'write', value, expected, outcome: 'conflict' })
          } else if (error.outcome === 'unknown') {
            unknowns.count += 1
            record(process, invokedAt, { do: 'write', value, expected, outcome: 'unknown' }, false)
          }
        },
      )
    }
    const turns = states.map(() => 0)
    const workers = states.map(async (_, n) => {
      // A client that got no answer never acts under the same name again.
      for (let turn = 0; working; turn++) {
        if ((turns[n] ?? 0) <= 0) await until('it is its turn', () => !working || (turns[n] ?? 0) > 0)
        turns[n] = (turns[n] ?? 0) - 1
        if (working) await step(n, `${n}.${turn}`)
      }
    })
    const fault = async (n: number): Promise<void> => {
      const near = links[n % 3]?.link as Link
      await until('all have had their turns', () => turns.every((left) => left <= 0))
      turns.fill(8)
      await until('one of them works', () => (turns[n % 3] ?? 0) < 7)
      if (n % 3 === 2) near.cut()
      else near.hold(n % 2 === 0 ? 'replies' : 'requests')
      turns[n % 3] = 4
      await until('one has noticed', () => states[n % 3]?.health().status === 'down')
      near.heal()
      await until('it works again', () => states[n % 3]?.health().status === 'up')
    }
    for (let n = 0; n < 9; n++) await fault(n)
    // Repeats until `count`, which does not repeat its call, has an unknown outcome; n is odd as often as even, so
    // requests and replies are held in turns.
    for (let n = 1; unknowns.count === 0 && n < 40; n += 3) await fault(n)
    await until('all have had their turns', () => turns.every((left) => left <= 0))
    working = false
    await Promise.all(workers)
    console.log(`  ${operations.length} operations: ${JSON.stringify(unknowns)}`)
    expect(unknowns.done).toBeGreaterThan(10)
    expect(unknowns.count).toBeGreaterThan(0)
    expect(checkLinearizable(versionedRegister<number>(), operations)).toMatchObject({ verdict: 'linearizable' })
  })
})

describeWith(['redis'], 'watches of a Redis that fails', { private: true }, () => {
  const { context, link, member, state, store } = clusterOn(() => startServer('redis'))

  it('scripts, connections and both at once can be lost during work: nothing is lost', async () => {
    const [a, b] = [state(), state()]
    const seen: number[] = []
    b.watch((event) => void seen.push(event.version))
    await until('it has begun', () => seen.length === 1)
    const versions: number[] = []
    for (let n = 0; n < 60; n++) {
      if (n % 20 === 5) await withRedis(context.server, (client) => client.script('FLUSH'))
      if (n % 20 === 15) await withRedis(context.server, (client) => client.call('CLIENT', 'KILL', 'TYPE', 'normal'))
      versions.push((await a.put(`k${n % 7}`, n)).version)
    }
    await until('all is told', () => seen.at(-1) === versions.at(-1))
    expect(seen.slice(1)).toEqual(versions)
  })

  it('a watcher that was cut off while the log moved on gets a snapshot, any other every change', async () => {
    const near = await link()
    const [writer, away, here] = [state({ keepChanges: 20 }), state({ store: near.store }), state()]
    const [seenAway, seenHere]: [StateEvent<number>[], StateEvent<number>[]] = [[], []]
    away.watch((event) => void seenAway.push(event))
    here.watch((event) => void seenHere.push(event))
    await until('both have begun', () => seenAway.length === 1 && seenHere.length === 1)
    near.link.cut()
    for (let n = 0; n < 10; n++) await writer.put('k', n)
    near.link.heal()
    await until('it has caught up', () => seenAway.length === 11)
    expect(seenAway.slice(1)).toEqual(seenHere.slice(1))
    near.link.cut()
    for (let n = 0; n < 30; n++) await writer.put('k', 100 + n)
    near.link.heal()
    await until('it has caught up again', () => seenAway.at(-1)?.version === seenHere.at(-1)?.version)
    expect(seenAway[11]).toMatchObject({ type: 'snapshot', reason: 'behind', entries: [{ key: 'k', value: 129 }] })
    expect(seenAway).toHaveLength(12)
    expect(seenHere).toHaveLength(41)
  })

  it('a store that goes back to an older copy is noticed, even when it has gone past since', async () => {
    const near = await link()
    const [writer, away] = [state(), state({ store: near.store })]
    const before = await writer.put('k', 1)
    const seen: StateEvent<number>[] = []
    away.watch((event) => void seen.push(event))
    await until('it has begun', () => seen.length === 1)
    const lost = await withRedis(context.server, async (client) => {
      const keys = await client.keys('concordat:cluster:*')
      const copies = await Promise.all(keys.map((key) => client.dumpBuffer(key)))
      const lost = await writer.put('k', 2)
      await until('the watcher has seen it', () => seen.length === 2)
      near.link.cut()
      const restoring = client.multi()
      for (const [n, key] of keys.entries()) restoring.restore(key, 0, copies[n] as Buffer, 'REPLACE')
      await restoring.exec()
      return lost
    })
    const after = await writer.put('k', 3, { ifVersion: before.version })
    expect(after.version).toBeGreaterThan(lost.version)
    near.link.heal()
    await until('it has noticed', () => seen.length === 3)
    expect(seen[2]).toMatchObject({ type: 'snapshot', reason: 'rollback', version: after.version })
    await expect(away.put('k', 4, { ifVersion: lost.version })).rejects.toMatchObject({ version: after.version })
  })

  it('a hundred watchers in one process read over one connection, and all get the changes', async () => {
    const shared = store()
    const name = 'fan-out'
    const [writer, reader] = [state({ name }), state({ name, store: shared })]
    const seen = Array.from({ length: 100 }, () => [] as number[])
    for (const versions of seen) reader.watch((event) => void versions.push(event.version))
    const observers = ['c', 'd', 'e'].map((cluster) => member(`observer of ${cluster}`, { cluster, store: shared }))
    await Promise.all(observers.map((observer) => observer.ready()))
    await until('all have begun', () => seen.every((versions) => versions.length === 1))
    const versions: number[] = []
    for (let n = 0; n < 50; n++) versions.push((await writer.put('k', n)).version)
    await until('all are told', () => seen.every((told) => told.length === 51))
    for (const told of seen) expect(told.slice(1)).toEqual(versions)
    const clients = (await withRedis(context.server, (client) => client.client('LIST'))) as string
    expect(clients.split('\n').filter((line) => line.includes('name=concordat-cluster-logs'))).toHaveLength(1)
  })
})
