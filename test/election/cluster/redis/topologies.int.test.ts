import { randomUUID } from 'node:crypto'
import { createMembership, createSharedState } from 'concordat/cluster'
import { redisStateStore } from 'concordat/redis'
import { Cluster, Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { clusterConformance } from '../../../conformance/cluster.ts'
import { Link } from '../../../faults/harness/link.ts'
import type { StateEvent } from '../../../support/inside/election.ts'
import {
  describeWith,
  openLink,
  portOf,
  startCluster,
  startReplicated,
  startSentinels,
  withRedis,
} from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'

describeWith(['redis'], 'Redis Cluster', { private: true }, () => {
  clusterConformance('cluster', async () => {
    const cluster = await startCluster()
    const client = new Cluster([...cluster.nodes], { lazyConnect: true })
    const prefix = `test-${randomUUID()}:`
    return {
      store: () => redisStateStore({ client, prefix }),
      wipe: async () => {
        for (const master of cluster.masters) await withRedis(master, (node) => node.flushall())
      },
      close: async () => {
        client.disconnect()
        await cluster.stop()
      },
    }
  })
})

describeWith(['redis'], 'Redis under Sentinel', { private: true }, () => {
  it('a failover kills no member: members continue as the same generations, watches and writes at the new master', async () => {
    await using group = await startSentinels()
    const client = new Redis({ sentinels: [...group.sentinels], name: group.name, lazyConnect: true })
    const timing = { heartbeatMs: 100, suspectAfterMs: 1_000, deadAfterMs: 3_000 }
    const stores = ['a', 'b', 'c'].map(() => redisStateStore({ client, answerMs: 500 }))
    const members = stores.map((store, n) =>
      createMembership({ store, cluster: 'c', service: 's', instance: `m${n}`, ...timing }),
    )
    const states = stores.map((store) => createSharedState<number>({ store, cluster: 'c', name: 's' }))
    const presences = await Promise.all(members.map((member) => member.join()))
    const heard: string[] = []
    members[0]?.watch((event) => void heard.push(event.type))
    const versions: number[] = []
    states[1]?.watch((event) => void versions.push(event.version))
    await states[0]?.put('k', 1)
    const master = await group.current()
    await until('the replicas have it', async () => {
      const acknowledged = await withRedis(master, (node) => node.wait(1, 1_000))
      return acknowledged >= 1
    })
    await master.kill()
    await until('another one leads', async () => (await group.current().catch(() => master)) !== master, 60_000)
    await until('all are members there', () => members.every((member) => member.self() !== undefined), 60_000)
    const done = await states[2]?.update('k', (value) => (value ?? 0) + 1)
    await until('the watch goes on', () => versions.at(-1) === done?.version)
    expect((await states[0]?.get('k'))?.value).toBe(2)
    expect(members.map((member) => member.self()?.generation)).toEqual(presences.map(({ generation }) => generation))
    expect(heard).not.toContain('dead')
    for (const part of [...members, ...states, ...stores]) await part.close()
  })
})

describeWith(['redis'], 'a master and a replica that lags', { private: true }, () => {
  it('a failover that loses writes is reported to watchers, and lost writes never count as stored', async () => {
    const replication: { cut?: () => void } = {}
    const via = async (port: number): Promise<number> => {
      const between = await openLink(port)
      replication.cut = () => between.cut()
      return between.port
    }
    await using group = await startReplicated({ replicas: 1, via })
    const replica = group.replicas[0] as (typeof group.replicas)[0]
    const near = await Link.to(portOf(group.master))
    const store = redisStateStore({ url: `redis://127.0.0.1:${near.port}`, answerMs: 500 })
    const timing = { heartbeatMs: 100, suspectAfterMs: 1_000, deadAfterMs: 3_000 }
    const member = createMembership({ store, cluster: 'c', service: 's', instance: 'a', ...timing })
    const state = createSharedState<number>({ store, cluster: 'c', name: 's' })
    const presence = await member.join()
    const seen: Array<StateEvent<number>> = []
    state.watch((event) => void seen.push(event))
    const kept = await state.put('k', 1)
    await until('the replica has it', async () => (await withRedis(group.master, (node) => node.wait(1, 500))) === 1)
    replication.cut?.()
    const lost = await state.put('k', 2)
    await until('the watch has it', () => seen.at(-1)?.version === lost.version)
    await group.master.kill()
    await withRedis(replica, (node) => node.replicaof('NO', 'ONE'))
    near.retarget(portOf(replica))
    await until('the loss is told', () => seen.at(-1)?.type === 'snapshot' && seen.length > 2)
    expect(seen.at(-1)).toMatchObject({ reason: 'rollback', version: kept.version, entries: [{ key: 'k', value: 1 }] })
    await expect(state.put('k', 3, { ifVersion: lost.version })).rejects.toMatchObject({ version: kept.version })
    const next = await state.put('k', 3, { ifVersion: kept.version })
    expect(next.version).toBeGreaterThan(lost.version)
    await until('it goes on', () => seen.at(-1)?.version === next.version)
    await until('the member is one there too', () => member.self() !== undefined)
    expect(member.self()?.generation).toBe(presence.generation)
    for (const part of [member, state, store, near]) await part.close()
  })
})
