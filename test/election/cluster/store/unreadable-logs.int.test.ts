import { randomUUID } from 'node:crypto'
import { createMembership, createSharedState } from 'concordat/cluster'
import { silentLogger } from 'concordat/core'
import type { ClusterStore } from 'concordat/extension'
import { redisStateStore } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { clusterDatabase } from '../../../support/cluster/on-postgres.ts'
import { describeWith, type PrivateServer, portOf, startServer } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'

/** Runs a member and a mirror, withdraws the right to read logs while both write on, and grants it again. */
async function withoutLogs(store: ClusterStore, withdraw: () => Promise<unknown>, grant: () => Promise<unknown>) {
  const cluster = randomUUID()
  const member = createMembership({ store, cluster, service: 's', heartbeatMs: 100, logger: silentLogger })
  const state = createSharedState<number>({ store, cluster, name: 'n', logger: silentLogger })
  onTestFinished(async () => {
    await member.close()
    await state.close()
    await store.close()
  })
  await member.join()
  await state.put('k', 1)
  const mirror = await state.mirror()
  await withdraw()
  await until('both say that they are down', () =>
    [member.health(), state.health()].every(({ status }) => status === 'down'),
  )
  const seen = new Set<string>()
  for (let n = 2; n < 12; n++) {
    await state.put('k', n)
    seen.add(state.health().status)
    seen.add(member.health().status)
  }
  expect(member.status().state).toBe('alive')
  expect(seen).toEqual(new Set(['down']))
  await grant()
  await until('the mirror has caught up', () => mirror.get('k')?.value === 11)
  await until('both are up', () => [member.health(), state.health()].every(({ status }) => status === 'up'))
}

describeWith(['redis'], 'a Redis user that may not read logs', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer('redis')
  })
  afterAll(() => server.stop())

  it('makes mirrors and members down, although writes and heartbeats succeed', async () => {
    const admin = new Redis(server.url)
    onTestFinished(() => admin.disconnect())
    const set = (...rules: readonly string[]) => admin.call('ACL', 'SETUSER', 'app', ...rules)
    await set('on', '>secret', '~*', '&*', '+@all')
    const client = new Redis({ port: portOf(server), username: 'app', password: 'secret', lazyConnect: true })
    onTestFinished(() => client.disconnect())
    const store = redisStateStore({ client, logger: silentLogger })
    await withoutLogs(
      store,
      () => set('-xread'),
      () => set('+xread'),
    )
  })
})

describeWith(['postgres'], 'a PostgreSQL role that may not read logs', () => {
  it('makes mirrors and members down, although writes and heartbeats succeed', async () => {
    const database = await clusterDatabase()
    onTestFinished(() => database.drop())
    const store = database.store({ logger: silentLogger })
    const rename = (from: string, to: string) =>
      database.sql.query(`DO $$ BEGIN EXECUTE (SELECT format('ALTER FUNCTION %s RENAME TO ${to}', oid::regprocedure)
        FROM pg_proc WHERE proname = '${from}'); END $$`)
    await withoutLogs(
      store,
      () => rename('cluster_tail', 'hidden_tail'),
      () => rename('hidden_tail', 'cluster_tail'),
    )
  })
})
