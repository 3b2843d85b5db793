import type { SqlClient } from 'concordat/core'
import { currentGlobalTransaction, outsideGlobalTransaction, transactionHeaders } from 'concordat/saga/global'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { until } from '../../support/until.ts'
import { embeddedDatabases, openShards, order, outer, payment, type ShardsWorld } from './support/shards-world.ts'

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

const IDS = Array.from({ length: 24 }, (_, n) => `o-${n}`)
const PATIENCE = { timeoutMs: 20_000 }

/** An id that belongs on this shard now. */
async function idOn(coordinator: { shardOf(target: { saga: string; id: string }): Promise<string> }, shard: string) {
  for (let n = 0; ; n++) {
    const id = `on-${shard}-${n}`
    if ((await coordinator.shardOf({ saga: 'order', id })) === shard) return id
  }
}

describe('sagas over two databases', () => {
  test('each end once, on the shard of their id, and both shards have some', async () => {
    const coordinator = await world.running(['a', 'b'])
    const runs = await Promise.all(IDS.map((id, n) => coordinator.start(order, { id, input: { n } })))
    for (const run of runs) expect((await run.outcome(PATIENCE)).status).toBe('completed')

    expect(world.reserved.toSorted()).toEqual(IDS.toSorted())
    const spread = await world.spread()
    expect(spread.map(({ id }) => id).toSorted()).toEqual(IDS.toSorted())
    expect(new Set(spread.map(({ shard }) => shard))).toEqual(new Set(['a', 'b']))
    for (const { shard, id } of spread) {
      expect(await coordinator.shardOf({ saga: 'order', id })).toBe(shard)
      // The effect of its step is beside it.
      const { rows } = await (databases.sql[shard] as (typeof databases.sql)[string]).query(
        'SELECT id FROM noted WHERE id = $1',
        [id],
      )
      expect(rows).toHaveLength(1)
    }
  })

  test('are refused with the id of a step, which begins on the shard of its own saga, and are started with any other', async () => {
    const coordinator = await world.running(['a', 'b'])
    for (const id of IDS.slice(0, 6)) {
      await (await coordinator.start(outer, { id, input: { n: 1 } })).outcome(PATIENCE)
      const start = { id: `outer/${id}/inner`, input: { n: 2 } }
      await expect(coordinator.start(order, start)).rejects.toMatchObject({
        code: 'saga.conflict',
        message: expect.stringContaining('has the id of a step of saga "outer"'),
      })
      expect(await world.holders(start.id)).toHaveLength(1)
    }
    for (const id of ['outer/never/inner#2', 'outer/x/inner[3]', 'outer/x/y/inner']) {
      await expect(coordinator.start(order, { id, input: { n: 1 } })).rejects.toMatchObject({ code: 'saga.conflict' })
    }
    for (const id of ['outer/x/other', 'inner', 'order/x/inner']) {
      expect((await coordinator.start(order, { id, input: { n: 1 } })).id).toBe(id)
    }
  })

  test('exist once per id, for any process and number of starts', async () => {
    const first = await world.running(['a', 'b'])
    const second = world.process(['b', 'a'])
    await second.run()
    await Promise.all(
      IDS.flatMap((id) => [first, second, first].map((each) => each.start(order, { id, input: { n: 1 } }))),
    )
    for (const id of IDS) {
      expect((await second.get(order, id).outcome(PATIENCE)).status).toBe('completed')
      expect(await world.holders(id)).toHaveLength(1)
    }
    expect(world.reserved.toSorted()).toEqual(IDS.toSorted())
    await expect(second.start(order, { id: 'o-1', input: { n: 2 } })).rejects.toMatchObject({ code: 'saga.conflict' })
  })

  test('are listed over all shards, oldest first, page by page', async () => {
    const coordinator = await world.running(['a', 'b'])
    for (const [n, id] of IDS.entries()) await coordinator.start(order, { id, input: { n } })
    const all = await coordinator.list({ saga: 'order' })
    expect(all.map(({ id }) => id)).toEqual(IDS)
    expect(new Set(all.map(({ shard }) => shard))).toEqual(new Set(['a', 'b']))
    const page = await coordinator.list({ saga: 'order', limit: 10 })
    expect(page.map(({ id }) => id)).toEqual(IDS.slice(0, 10))
    const next = await coordinator.list({ saga: 'order', limit: 10, after: page.at(-1) })
    expect(next.map(({ id }) => id)).toEqual(IDS.slice(10, 20))
  })

  test('are found and settled by their list entries, the steps of sagas too', async () => {
    const coordinator = await world.running(['a', 'b'])
    for (const id of IDS.slice(0, 6)) {
      const run = await coordinator.start(outer, { id, input: { n: 1 } })
      expect((await run.outcome(PATIENCE)).status).toBe('completed')
    }
    const lines = await coordinator.list({ saga: 'order' })
    expect(lines).toHaveLength(6)
    for (const line of lines) {
      expect(await coordinator.shardOf(line)).toBe(line.shard)
      expect((await coordinator.report(line)).status).toBe('completed')
      const note = { by: 'kim', reason: 'why not' }
      await expect(coordinator.cancel(line, note)).rejects.toMatchObject({ code: 'saga.action_refused' })
    }
    const nobody = { saga: 'order', id: 'nobody' }
    await expect(coordinator.report(nobody)).rejects.toMatchObject({ code: 'saga.not_found' })
    await expect(coordinator.get(order, 'nobody').report()).rejects.toMatchObject({ code: 'saga.not_found' })
    expect(await coordinator.purge({ olderThanMs: 0 })).toBe(12)
  })

  test('report their end also to a caller from before their start, on another shard than that of their own id', async () => {
    const coordinator = await world.running(['a', 'b'])
    const shardOf = (id: string) => coordinator.shardOf({ saga: 'order', id })
    const homes = await Promise.all(IDS.map(async (id) => [await shardOf(id), await shardOf(`outer/${id}/inner`)]))
    const id = IDS[homes.findIndex(([parent, child]) => parent !== child)] as string
    const inner = coordinator.get(order, `outer/${id}/inner`)
    const asked = inner.outcome(PATIENCE)
    // This lookup of the saga comes after that of `outcome`.
    await expect(inner.report()).rejects.toMatchObject({ code: 'saga.not_found' })
    await coordinator.start(outer, { id, input: { n: 1 } })
    expect((await asked).status).toBe('completed')
    await expect(coordinator.get(order, 'none').outcome({ timeoutMs: 10 })).rejects.toMatchObject({
      code: 'saga.pending',
    })
  })

  test('start within a transaction of their own shard, and of no other database', async () => {
    const coordinator = await world.running(['a', 'b'])
    const id = await idOn(coordinator, 'a')
    const { a, b, c } = databases.sql as Record<'a' | 'b' | 'c', (typeof databases.sql)[string]>
    await a.transaction(async (tx) => {
      await tx.query('CREATE TEMP TABLE mine (id text)')
      await coordinator.start(tx, order, { id, input: { n: 1 } })
    })
    expect((await coordinator.get(order, id).outcome(PATIENCE)).status).toBe('completed')

    const other = await idOn(coordinator, 'b')
    const startIn = (sql: typeof a) =>
      sql.transaction((tx) => coordinator.start(tx, order, { id: other, input: { n: 1 } }))
    await expect(startIn(a)).rejects.toMatchObject({ code: 'saga.other_shard', shard: 'b', here: 'a' })
    await expect(startIn(c)).rejects.toMatchObject({ code: 'saga.other_shard', shard: 'b', here: undefined })
    expect(await world.holders(other)).toEqual([])
    await startIn(b)
    expect(await world.holders(other)).toEqual(['b'])
  })

  test('are global transactions, too: code runs once for one id, and is inherited on its shard', async () => {
    const coordinator = await world.running(['a', 'b'])
    const ran: string[] = []
    const pay = (id: string) =>
      coordinator.globalTransaction(payment, { id, input: { n: 1 }, ...PATIENCE }, async () => {
        ran.push(id)
        const headers = transactionHeaders()
        return outsideGlobalTransaction(() =>
          coordinator.inheritTransaction(headers, () => currentGlobalTransaction()?.id ?? 'none'),
        )
      })
    for (const id of IDS.slice(0, 6)) expect([await pay(id), await pay(id)]).toEqual([id, id])
    expect(ran).toEqual(IDS.slice(0, 6))
    const holders = await Promise.all(ran.map((id) => world.holders(id, 'payment')))
    expect(new Set(holders.flat())).toEqual(new Set(['a', 'b']))
    expect(holders.flat()).toHaveLength(6)
  })

  test('report by shard which sagas are driven', async () => {
    const coordinator = world.process(['a', 'b'])
    expect(coordinator.health()).toMatchObject({ status: 'idle', takes: undefined })
    await coordinator.migrate()
    await coordinator.run()
    expect(coordinator.health()).toMatchObject({
      status: 'up',
      takes: ['a', 'b'],
      shards: { a: { status: 'up' }, b: { status: 'up' } },
    })
    await coordinator.close()
    expect(coordinator.health().status).toBe('closed')
    await expect(coordinator.start(order, { id: 'x', input: { n: 1 } })).rejects.toMatchObject({ code: 'saga.closed' })
  })
})

describe('a process with another list of shards', () => {
  test('does not run when one is missing where sagas may be', async () => {
    await world.process(['a', 'b']).migrate()
    const less = world.process(['a'])
    await expect(less.run()).rejects.toMatchObject({ code: 'saga.shards_mismatch' })
    await expect(less.run()).rejects.toThrow('shard "b"')
    await expect(less.migrate()).rejects.toMatchObject({ code: 'saga.shards_mismatch' })
    await expect(less.start(order, { id: 'o-1', input: { n: 1 } })).rejects.toMatchObject({
      code: 'saga.shards_mismatch',
    })
  })

  test('does not run with the addresses of two shards exchanged', async () => {
    await world.process(['a', 'b']).migrate()
    const shards = { a: world.shard('b'), b: world.shard('a') }
    const wrong = world.process([], { shards })
    await expect(wrong.run()).rejects.toMatchObject({ code: 'saga.shards_mismatch' })
    await expect(wrong.run()).rejects.toThrow(/shard "a" is shard "b"|shard "b" is shard "a"/)
  })

  test('does not drive a shard that was away and whose address leads to another one since', async () => {
    await world.process(['a', 'b']).migrate()
    const { a } = world.sql as { readonly a: SqlClient }
    let isAway = true
    const gone = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    const sql: SqlClient = {
      ...a,
      query: (text, parameters) => (isAway ? Promise.reject(gone()) : a.query(text, parameters)),
      transaction: (work, limits) => (isAway ? Promise.reject(gone()) : a.transaction(work, limits)),
    }
    const coordinator = world.process([], { shards: { a: world.shard('a'), b: { ...world.shard('b'), sql } } })
    onTestFinished(() => coordinator.close())
    await coordinator.run()
    const health = () => coordinator.health().shards['b']
    expect(health()).toMatchObject({ status: 'down', error: 'connect ECONNREFUSED' })
    isAway = false
    await until('it was asked again', () => health()?.error !== 'connect ECONNREFUSED')
    expect(health()).toMatchObject({ status: 'down', error: expect.stringContaining('is shard "a"') })
  })

  test('starts nothing on a shard that was not decided yet', async () => {
    await world.process(['a', 'b']).migrate()
    const more = await world.running(['a', 'b', 'c'])
    expect(more.health().takes).toEqual(['a', 'b'])
    for (const id of IDS) await more.start(order, { id, input: { n: 1 } })
    expect(new Set((await world.spread()).map(({ shard }) => shard))).toEqual(new Set(['a', 'b']))
  })

  test('does not begin while two sets of shards have a database in common', async () => {
    await world.process(['a', 'b']).migrate()
    await expect(world.process(['b', 'c']).migrate()).rejects.toMatchObject({ code: 'saga.shards_mismatch' })
    await world.process(['c']).migrate()
    await expect(world.process(['a', 'b', 'c']).migrate()).rejects.toThrow('two sets of shards have one database')
  })

  test('is refused before migrate()', async () => {
    const coordinator = world.process(['a', 'b'])
    await expect(coordinator.run()).rejects.toMatchObject({ code: 'core.tables_missing' })
    const started = coordinator.start(order, { id: 'x', input: { n: 1 } })
    await expect(started).rejects.toMatchObject({ code: 'core.tables_missing' })
  })
})
