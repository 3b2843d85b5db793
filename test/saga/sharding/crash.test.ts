// oxlint-disable no-restricted-imports -- the ids are chosen by where they belong
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { createShardedCoordinator, type ShardedCoordinator } from 'concordat/saga/coordinator'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { homeOf } from '../../../saga/sharding/layout.ts'
import type { ShardOptions } from '../../support/inside/saga.ts'
import { MortalClient } from '../support/mortal.ts'
import { embeddedDatabases, openShards, order, outer, payment, type ShardsWorld } from './support/shards-world.ts'

const NAMES = ['a', 'b', 'c'] as const
const BEFORE = ['a', 'b']
const input = { n: 1 }

let databases: ReturnType<typeof embeddedDatabases>
let world: ShardsWorld

beforeAll(async () => {
  databases = embeddedDatabases(NAMES)
  world = await openShards(databases.sql)
  await world.process(BEFORE).migrate()
  await world.process(NAMES).migrate()
}, 180_000)
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await databases.close()
})

/** Ids for each of the two shards: one that stays there and one that belongs on the new one. */
function someIds(): readonly string[] {
  const found = new Map<string, string>()
  for (let n = 0; found.size < 4; n++) {
    const id = `x-${n}`
    found.set(`${homeOf(BEFORE, id)} ${homeOf(NAMES, id) === 'c'}`, id)
  }
  return [...found.values()]
}

const ids = someIds()

/** Restores the state of before the third shard was in use. */
async function reset(): Promise<void> {
  for (const name of NAMES) {
    await sqlOf(name).query(`DELETE FROM ${world.schema}.saga`)
    await sqlOf(name).query(`DELETE FROM ${world.schema}.saga_event`)
    await sqlOf(name).query(`UPDATE ${world.schema}.saga_shard SET layouts = '[["a", "b"]]'`)
  }
}

function sqlOf(name: string): SqlClient {
  return databases.sql[name] as SqlClient
}

/** Counts steps over all databases of one life: each statement, and the moments before and after a commit. */
function mortal(inner: SqlClient, life: MortalClient): SqlClient {
  const moment = (): Promise<void> => life.step(async () => {})
  return {
    query: (text, parameters) => life.step(() => inner.query(text, parameters)),
    transaction: async (work) => {
      const result = await inner.transaction(async (tx) => {
        const outcome = await work({
          ...tx,
          // The commit is a step of its own.
          last: undefined,
          query: (text, parameters) => life.step(() => tx.query(text, parameters)),
        } as SqlTransaction)
        await moment()
        return outcome
      })
      await moment()
      return result
    },
  }
}

function doomed(life: MortalClient): ShardedCoordinator {
  const shards: Record<string, ShardOptions> = {}
  for (const name of NAMES) shards[name] = { ...world.shard(name), sql: mortal(sqlOf(name), life) }
  return createShardedCoordinator({ service: 'orders', sagas: [order, outer, payment], shards })
}

/** False: it lived to the end. */
async function dieAt(n: number, when: 'before' | 'after'): Promise<boolean> {
  await reset()
  const stale = world.process(NAMES)
  expect(await stale.shardOf({ saga: 'order', id: 'any' })).toBeTypeOf('string')
  const life = new MortalClient(sqlOf('a'), n, when)
  const first = doomed(life)
  const [early, ...late] = ids
  try {
    await first.start(order, { id: early as string, input })
    await first.useShards(NAMES)
    for (const id of late) await first.start(order, { id, input })
  } catch (error) {
    if (!life.dead) throw error
  }
  await first.close()
  // A process that does not know of the change, and a process that begins now.
  for (const id of ids) await stale.start(order, { id, input })
  const next = world.process(NAMES)
  for (const id of ids) await next.start(order, { id, input })
  for (const id of ids) expect([n, id, await world.holders(id)]).toEqual([n, id, [expect.any(String)]])
  await next.useShards(NAMES)
  for (const name of NAMES) {
    const { rows } = await sqlOf(name).query(`SELECT layouts FROM ${world.schema}.saga_shard`)
    expect(rows).toEqual([{ layouts: [BEFORE, NAMES] }])
  }
  await stale.close()
  await next.close()
  return life.dead
}

test.for(['before', 'after'] as const)(
  'a process that dies at any statement or commit of a change, %s its execution, leaves nothing that doubles a saga',
  { timeout: 150_000 },
  async (when) => {
    let n = 1
    while (await dieAt(n, when)) n++
    // The process began, changed the layout in three databases, and started four sagas.
    expect(n).toBeGreaterThan(30)
    onTestFinished(reset)
  },
)
