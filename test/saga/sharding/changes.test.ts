import type { SqlClient } from 'concordat/core'
import type { ShardedCoordinator } from 'concordat/saga/coordinator'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { embeddedDatabases, openShards, order, type ShardsWorld } from './support/shards-world.ts'

let databases: ReturnType<typeof embeddedDatabases>
let world: ShardsWorld

beforeAll(async () => {
  databases = embeddedDatabases(['a', 'b', 'c'])
  await openShards(databases.sql).then((opened) => opened[Symbol.asyncDispose]())
}, 120_000)
afterAll(() => databases.close())
beforeEach(async () => {
  world = await openShards(databases.sql)
})
afterEach(() => world[Symbol.asyncDispose]())

const input = { n: 1 }
const IDS = Array.from({ length: 16 }, (_, n) => `o-${n}`)
const PATIENCE = { timeoutMs: 20_000 }

const startAll = (coordinator: ShardedCoordinator, ids: readonly string[] = IDS) =>
  Promise.all(ids.map((id) => coordinator.start(order, { id, input })))

/** Each id is in one database. */
async function expectOneEach(ids: readonly string[]): Promise<void> {
  for (const id of ids) expect([id, await world.holders(id)]).toEqual([id, [expect.any(String)]])
}

/** An id that is on one of these shards, by this process's view. */
async function idOn(coordinator: ShardedCoordinator, shard: string, from = 0): Promise<string> {
  for (let n = from; ; n++) {
    const id = `on-${n}`
    if ((await coordinator.shardOf({ saga: 'order', id })) === shard) return id
  }
}

/** Restores the tables of before the databases checked layouts. */
async function withoutCheck(sql: SqlClient, schema: string): Promise<void> {
  await sql.query(`ALTER TABLE ${schema}.saga DISABLE TRIGGER saga_home`)
}

describe('a shard is added', () => {
  test('existing sagas stay, are found, and are not started again', async () => {
    const coordinator = await onTwo()
    await startAll(coordinator)
    const before = await world.spread()
    await coordinator.useShards(['c', 'b', 'a'])
    expect(coordinator.health().takes).toEqual(['a', 'b', 'c'])

    const runs = await startAll(coordinator)
    for (const run of runs) expect((await run.outcome(PATIENCE)).status).toBe('completed')
    expect((await world.spread()).toSorted(byId)).toEqual(before.toSorted(byId))
    expect(world.reserved.toSorted()).toEqual(IDS.toSorted())
    await expect(coordinator.start(order, { id: 'o-3', input: { n: 9 } })).rejects.toMatchObject({
      code: 'saga.conflict',
    })
    const fresh = Array.from({ length: 16 }, (_, n) => `new-${n}`)
    await startAll(coordinator, fresh)
    expect(new Set((await world.spread()).map(({ shard }) => shard)).has('c')).toBe(true)
    await expectOneEach([...IDS, ...fresh])
  })

  test('a process with the old layout reads it again and starts where the others do', async () => {
    const old = await onTwo()
    const other = world.process(['a', 'b', 'c'])
    await other.run()
    await old.useShards(['a', 'b', 'c'])
    // `other` is a layout behind: half of the starts come from each of the two.
    await Promise.all([startAll(other), startAll(old)])
    await expectOneEach(IDS)
    expect(other.health().takes).toEqual(['a', 'b', 'c'])
    for (const id of IDS) expect((await other.get(order, id).outcome(PATIENCE)).status).toBe('completed')
    expect(world.reserved.toSorted()).toEqual(IDS.toSorted())
  })

  test('a process with the old layout finds sagas that others started', async () => {
    const old = await onTwo()
    const other = world.process(['a', 'b', 'c'])
    await other.run()
    await old.useShards(['a', 'b', 'c'])
    await startAll(old)
    for (const id of IDS) expect((await other.get(order, id).outcome(PATIENCE)).status).toBe('completed')
    expect((await other.report({ saga: 'order', id: 'o-1' })).status).toBe('completed')
  })

  test('a running process without the new shard starts sagas that do not belong there, and no others', async () => {
    const all = await onTwo()
    const onlyTwo = world.process(['a', 'b'])
    await onlyTwo.run()
    await all.useShards(['a', 'b', 'c'])
    const onC = await idOn(all, 'c')
    const onA = await idOn(all, 'a')
    await expect(onlyTwo.start(order, { id: onC, input })).rejects.toMatchObject({ code: 'saga.shards_mismatch' })
    expect(await world.holders(onC)).toEqual([])
    await onlyTwo.start(order, { id: onA, input })
    expect(await world.holders(onA)).toEqual(['a'])
    await expect(onlyTwo.run()).rejects.toMatchObject({ code: 'saga.shards_mismatch' })
  })

  test('a change that ended in the middle is finished by the next start', async () => {
    const coordinator = await onTwo()
    await coordinator.useShards(['a', 'b', 'c'])
    // The change is decided in "a", and not yet written to the others.
    for (const name of ['b', 'c']) {
      await databases.sql[name]?.query(`UPDATE ${world.schema}.saga_shard SET layouts = layouts - 1`)
    }
    const next = world.process(['a', 'b', 'c'])
    await next.run()
    await startAll(next)
    await expectOneEach(IDS)
    await next.useShards(['a', 'b', 'c'])
    for (const name of ['a', 'b', 'c']) {
      const { rows } = await (databases.sql[name] as SqlClient).query(
        `SELECT name, jsonb_array_length(layouts) AS known FROM ${world.schema}.saga_shard`,
      )
      expect(rows).toEqual([{ name, known: 2 }])
    }
  })

  test('a database with the old layout gets the new one before a saga starts that belonged there', async () => {
    const coordinator = await onTwo()
    const stale = world.process(['a', 'b', 'c'])
    await stale.run()
    const placeOf = (id: string) => coordinator.shardOf({ saga: 'order', id })
    const candidates = Array.from({ length: 60 }, (_, n) => `from-b-${n}`)
    const before = await Promise.all(candidates.map(placeOf))
    await coordinator.useShards(['a', 'b', 'c'])
    const after = await Promise.all(candidates.map(placeOf))
    const id = candidates.find((_, n) => before[n] === 'b' && after[n] === 'c') as string
    await databases.sql['b']?.query(`UPDATE ${world.schema}.saga_shard SET layouts = layouts - 1`)
    const next = world.process(['a', 'b', 'c'])
    await next.run()
    await next.start(order, { id, input })
    // It has the previous layout, and so had "b".
    await stale.start(order, { id, input })
    expect(await world.holders(id)).toEqual(['c'])
  })

  test('two changes at once: one is decided, the other is rejected', async () => {
    const one = await world.running(['a', 'b', 'c'])
    const a = databases.sql['a'] as SqlClient
    const [deciding, decided] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const late: SqlClient = {
      ...a,
      transaction: (work) => {
        deciding.resolve()
        return decided.promise.then(() => a.transaction(work))
      },
    }
    const shards = { a: { ...world.shard('a'), sql: late }, b: world.shard('b'), c: world.shard('c') }
    const two = world.process([], { shards })
    const second = two.useShards(['a', 'c'])
    await deciding.promise
    await one.useShards(['a', 'b'])
    decided.resolve()
    await expect(second).rejects.toMatchObject({ code: 'saga.shards_changed' })
    await two.useShards(['b'])
    await startAll(one)
    expect(new Set((await world.spread()).map(({ shard }) => shard))).toEqual(new Set(['b']))
  })

  test('a transaction that starts under the layout before is refused, and the next one is not', async () => {
    const coordinator = await onTwo()
    const other = world.process(['a', 'b', 'c'])
    await other.run()
    const onA = await idOn(other, 'a')
    await coordinator.useShards(['a', 'b', 'c'])
    const { a } = databases.sql as { a: SqlClient }
    const startIn = () => a.transaction((tx) => other.start(tx, order, { id: onA, input }))
    await expect(startIn()).rejects.toMatchObject({ code: 'saga.shards_changed' })
    expect(await world.holders(onA)).toEqual([])
    // The first one makes it check again, after the transaction.
    await expect.poll(() => other.health().takes).toEqual(['a', 'b', 'c'])
    if ((await other.shardOf({ saga: 'order', id: onA })) === 'a') await startIn()
    else await other.start(order, { id: onA, input })
    await expectOneEach([onA])
  })
})

describe('a database that existed before the shards', () => {
  test('is the first layout alone, and its sagas are found when others are added', async () => {
    const single = world.single('a')
    await single.migrate()
    await Promise.all(IDS.map((id) => single.start(order, { id, input })))
    const shards = { a: { ...world.shard('a'), service: 'orders' }, b: world.shard('b') }
    const coordinator = await world.running([], { shards })
    expect(coordinator.health().takes).toEqual(['a'])
    // A coordinator without shards may continue until then.
    await single.start(order, { id: 'later', input })
    await coordinator.useShards(['a', 'b'])
    await expect(single.start(order, { id: 'too-late', input })).rejects.toMatchObject({ code: 'saga.shards_changed' })
    expect(await world.holders('too-late')).toEqual([])
    await startAll(coordinator, [...IDS, 'later', 'too-late'])
    await expectOneEach([...IDS, 'later', 'too-late'])
    expect((await world.spread()).filter(({ id }) => IDS.includes(id)).map(({ shard }) => shard)).toEqual(
      IDS.map(() => 'a'),
    )
  })

  test('joins no others that have sagas of their own', async () => {
    for (const name of ['a', 'b']) {
      const single = world.single(name)
      await single.migrate()
      await single.start(order, { id: 'same', input })
    }
    await expect(world.process(['a', 'b']).migrate()).rejects.toMatchObject({ code: 'saga.shards_mismatch' })
    await expect(world.process(['a', 'b']).migrate()).rejects.toThrow('have sagas that were started without shards')
    await world.process(['a']).migrate()
    await expect(world.process(['a', 'b']).migrate()).rejects.toThrow('use an empty one')
  })
})

test('without the check in the database an old list of shards doubles a saga', async () => {
  const all = await onTwo()
  const old = world.process(['a', 'b', 'c'])
  await old.run()
  await all.useShards(['a', 'b', 'c'])
  const onC = await idOn(all, 'c')
  for (const name of ['a', 'b', 'c']) await withoutCheck(databases.sql[name] as SqlClient, world.schema)
  await all.start(order, { id: onC, input })
  await old.start(order, { id: onC, input })
  expect(await world.holders(onC)).toHaveLength(2)
})

/** A process with three shards, of which two are in use and the third never was. */
async function onTwo(): Promise<ShardedCoordinator> {
  await world.process(['a', 'b']).migrate()
  const coordinator = await world.running(['a', 'b', 'c'])
  expect(coordinator.health().takes).toEqual(['a', 'b'])
  return coordinator
}

function byId(x: { id: string }, y: { id: string }): number {
  return x.id < y.id ? -1 : 1
}
