import { silentLogger } from 'concordat/core'
import type { LogEntry } from 'concordat/extension'
import { redisStateStore } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'

describeWith(['redis'], 'a Redis that ends connections with answers above 4 MB', { private: true }, () => {
  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer('redis')
  })
  afterAll(() => server.stop())

  it('is followed from far behind, in pages', async () => {
    const admin = new Redis(server.url)
    onTestFinished(() => admin.disconnect())
    await admin.config('SET', 'client-output-buffer-limit', 'normal 4mb 0 0')
    const store = redisStateStore({ url: server.url, logger: silentLogger })
    onTestFinished(() => store.close())
    const id = { cluster: 'c', state: 's' }
    const times = { attempt: 1, since: 0, keepChanges: 1_000, keepDeletedMs: 0 }
    const json = JSON.stringify('x'.repeat(60_000))
    for (let n = 0; n < 200; n++) {
      const put = { kind: 'put', key: `k${n % 4}`, ifVersion: undefined, json } as const
      await store.commit({ ...times, id, operations: [put], requestId: `r${n}` })
    }
    const seen: LogEntry[] = []
    const stop = store.follow(id, 0, { onEntries: (entries) => seen.push(...entries), onRollback: () => {} })
    onTestFinished(stop)
    await until('it has caught up', () => seen.length === 200)
    expect(seen.every(({ previous }, n) => previous === (seen[n - 1]?.revision ?? 0))).toBe(true)
  })
})
