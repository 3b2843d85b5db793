import { createSharedState } from 'concordat/cluster'
import { silentLogger } from 'concordat/core'
import { redisStateStore } from 'concordat/redis'
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { describeWith, startServer } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'

describeWith(['redis'], 'a Redis server that became a replica', { private: true }, () => {
  it('answers no read of a process that only reads, and its health is down', async () => {
    const server = await startServer('redis')
    const admin = new Redis(server.url)
    const store = redisStateStore({ url: server.url, logger: silentLogger })
    onTestFinished(async () => {
      await store.close()
      admin.disconnect()
      await server.stop()
    })
    const state = createSharedState<number>({ store, name: 'n', logger: silentLogger })
    const writer = redisStateStore({ url: server.url, logger: silentLogger })
    await createSharedState<number>({ store: writer, name: 'n' }).put('k', 1)
    await writer.close()
    expect((await state.get('k')).value).toBe(1)
    await admin.replicaof('127.0.0.1', 1)
    const unavailable = { code: 'cluster.store_unavailable' }
    await expect(state.get('k')).rejects.toMatchObject(unavailable)
    await expect(state.entries()).rejects.toMatchObject(unavailable)
    await expect(store.members('n')).rejects.toMatchObject(unavailable)
    await expect(store.changes({ cluster: 'n', state: 'n' }, 0, 10)).rejects.toMatchObject(unavailable)
    expect(state.health().status).toBe('down')
    await admin.replicaof('NO', 'ONE')
    await until('it reads again', () =>
      state.get('k').then(
        ({ value }) => value === 1,
        () => false,
      ),
    )
    await until('its health is up', () => state.health().status === 'up')
  })
})
