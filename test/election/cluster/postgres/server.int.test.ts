import { randomUUID } from 'node:crypto'
import { createSharedState } from 'concordat/cluster'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type ClusterDatabase, clusterDatabase } from '../../../support/cluster/on-postgres.ts'
import { describeWith } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'

describeWith(['postgres'], 'the functions of the cluster store', () => {
  let database: ClusterDatabase
  beforeEach(async () => {
    database = await clusterDatabase()
  })
  afterEach(() => database.drop())

  const timing = { suspectAfterMs: 60_000, deadAfterMs: 120_000 }

  it('follow indexes only, with any statistics', async () => {
    const store = database.store({ listens: false })
    const cluster = randomUUID()
    const state = createSharedState<number>({ store, name: 's', cluster, keepChanges: 20 })
    const joined = await store.join({ cluster, instance: 'a', joinId: 'j', json: '{}', ...timing })
    const boundTo = { instance: 'a', generation: joined.status === 'joined' ? joined.generation : 0 }
    const use = async (n: number): Promise<void> => {
      await state.put(`k${n % 7}`, n, { boundTo })
      await state.delete(`k${n % 5}`)
      await store.beat(cluster, 'a', boundTo.generation, 60_000)
      await store.changes({ cluster, state: 's' }, 0, 10)
    }
    await use(0)
    await database.sql.query(
      `INSERT INTO concordat.cluster_entry (cluster, log, key, version, json) SELECT 'other', 'state/x', n::text, n, '1' FROM generate_series(1, 20000) n`,
    )
    const scans = async (): Promise<number> => {
      await database.sql.query('SELECT pg_sleep(1.2), pg_stat_clear_snapshot()')
      const { rows } = await database.sql.query<{ n: number }>(
        `SELECT sum(seq_scan)::int AS n FROM pg_stat_user_tables WHERE relname LIKE 'cluster\\_%'`,
      )
      return rows[0]?.n ?? 0
    }
    const before = await scans()
    for (let n = 1; n <= 60; n++) await use(n)
    expect(await scans()).toBe(before)
    await state.close()
    await store.close()
  })

  it.for(['repeatable read', 'serializable'])('work where transactions are %s by default', async (isolation) => {
    await database.sql.query(
      `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''${isolation}''', current_database()); END $$`,
    )
    const stores = [database.store(), database.store(), database.store()]
    const states = stores.map((store) => createSharedState<number>({ store, name: 's' }))
    const [first] = states as [(typeof states)[0]]
    const mirror = await first.mirror()
    await Promise.all(
      states.map(async (state) => {
        for (let n = 0; n < 10; n++) await state.update('count', (value) => (value ?? 0) + 1)
      }),
    )
    expect(await first.get('count')).toMatchObject({ value: 30 })
    await until('the mirror has it', () => mirror.get('count')?.value === 30)
    for (const state of states) await state.close()
    for (const store of stores) await store.close()
  })

  it('leave no entry bound to a member that ends in that moment, and never deadlock', async () => {
    const [store, other] = [database.store({ listens: false }), database.store({ listens: false })]
    const cluster = randomUUID()
    for (let round = 0; round < 15; round++) {
      const instances = ['a', 'b', 'c'].map((name) => `${name}${round}`)
      const members = await Promise.all(
        instances.map((instance) => store.join({ cluster, instance, joinId: `j ${instance}`, json: '{}', ...timing })),
      )
      const bound = instances.flatMap((instance, n) => {
        const member = members[n]
        return member?.status === 'joined' ? [{ instance, generation: member.generation }] : []
      })
      const state = createSharedState<number>({ store: other, name: 's', cluster })
      const puts = bound.flatMap((boundTo, n) =>
        [0, 1].map((m) => state.put(`${n} ${m}`, m, { boundTo }).catch(() => {})),
      )
      const leaves = instances.map((instance) => store.leave(cluster, instance, `j ${instance}`, false))
      await Promise.all([...puts, ...leaves])
      expect((await state.entries()).entries).toEqual([])
      await state.close()
    }
    await store.close()
    await other.close()
  })
})
