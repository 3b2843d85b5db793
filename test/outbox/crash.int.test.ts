import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { EncodedMessage } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, startServer } from '../support/servers/index.ts'
import { message, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { setupOutboxOn } from './support/setup.ts'
import { firstArrivals, TABLE_BROKER, tablePublisher } from './support/table-broker.ts'

describeWith(['postgres'], 'a relay process', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  /** An outbox whose relays all publish to one table. */
  async function setup() {
    const t = await setupOutboxOn(database.sql, { partitions: 2 })
    const { schema } = t.outbox
    await t.sql.query(TABLE_BROKER(schema))
    const added: EncodedMessage[] = []
    const add = async (count: number): Promise<void> => {
      const more = Array.from({ length: count }, (_, i) => message(`m${added.length + i}`, `k${i % 20}`))
      await t.sql.transaction((tx) => t.outbox.addEncoded(tx, more))
      added.push(...more)
    }
    const drained = (): Promise<void> => until(async () => (await t.outbox.stats()).pending === 0, 'drained')
    const healthy = () => t.relay({ leaseMs: 1_000, publisher: tablePublisher(database.pool, schema) })
    const doomed = (nth: number, signal: NodeJS.Signals): ChildProcess => {
      const script = fileURLToPath(new URL('support/doomed-relay.ts', import.meta.url))
      const args = ['--conditions=concordat-source', script, database.url, schema, String(nth), signal]
      return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    }
    /** Checks that everything arrived, and that each key's messages first arrived in their order. */
    const check = async (): Promise<void> => {
      const expected = new Map([...Map.groupBy(added, (m) => m.key)].map(([key, list]) => [key, list.map((m) => m.id)]))
      expect(await firstArrivals(database.pool, schema)).toEqual(expected)
    }
    const published = async (): Promise<number> => (await t.sql.query(`SELECT 1 FROM "${schema}".broker`)).rowCount
    return { ...t, added, add, drained, healthy, doomed, check, published }
  }

  test('killed between publish and delete loses nothing: all is sent again, same ids, same order', async () => {
    await using t = await setup()
    await t.add(400)
    for (const nth of [1, 3, 2]) {
      const [, signal] = (await once(t.doomed(nth, 'SIGKILL'), 'exit')) as [number | null, string | null]
      expect(signal).toBe('SIGKILL')
    }
    await t.healthy().start()
    await t.drained()
    await t.check()
    expect(await t.published()).toBeGreaterThan(t.added.length)
  })

  test('suspended past its lease between publish and delete harms nothing when it resumes', async () => {
    await using t = await setup()
    await t.add(200)
    const child = t.doomed(2, 'SIGSTOP')
    try {
      await until(async () => (await t.published()) > 0, 'published by the child')
      const relay = t.healthy()
      await relay.start()
      await until(() => relay.health().partitions.length === 2, 'taken over')
      await t.add(200)
      child.kill('SIGCONT')
      await t.add(200)
      await t.drained()
      await until(() => relay.health().partitions.length === 1, 'shared again')
      await t.add(200)
      await t.drained()
      await t.check()
    } finally {
      child.kill('SIGKILL')
    }
  })
})

/** A running relay, and the messages added to its outbox and committed. */
async function relayOn(sql: SqlClient) {
  const t = await setupOutboxOn(sql, { partitions: 2 })
  const relay = t.relay({ leaseMs: 1_000, batchSize: 10 })
  await relay.start()
  const committed: string[] = []
  const add = async (id: string): Promise<void> => {
    await sql.transaction((tx) => t.outbox.addEncoded(tx, [message(id, `k${id.length}`)]))
    committed.push(id)
  }
  return { ...t, relay, committed, add }
}

describeWith(['postgres'], 'a server that is killed', { private: true }, () => {
  test('comes back to a relay that continues by itself, with nothing lost', async () => {
    const server = await startServer('postgres')
    const pool = new pg.Pool({ connectionString: server.url, max: 10 })
    const sql = pgClient(pool)
    try {
      await using t = await relayOn(sql)
      const { relay, committed, add } = t
      for (let i = 0; i < 50; i++) await add(`before${i}`)
      await server.kill()
      await expect(add('while down')).rejects.toThrow()
      await until(() => relay.health().status === 'down', 'down')
      await server.start()
      for (let i = 0; i < 50; i++) await add(`after${i}`)
      await until(async () => (await t.outbox.stats()).pending === 0, 'drained')
      await until(() => relay.health().status === 'up', 'up, which its next look says')
      expect(new Set(t.publisher.ids)).toEqual(new Set(committed))
    } finally {
      await pool.end()
      await server.stop()
    }
  })
})

describeWith(['postgres'], 'a server that freezes', { private: true }, () => {
  test('is noticed by a relay whose pool has time limits, which continues when it thaws, with nothing lost', async () => {
    const server = await startServer('postgres')
    const limits = { query_timeout: 1_000, connectionTimeoutMillis: 1_000 }
    const pool = new pg.Pool({ connectionString: server.url, max: 10, ...limits })
    const sql = pgClient(pool)
    try {
      await using t = await relayOn(sql)
      const { relay, committed, add } = t
      for (let i = 0; i < 20; i++) await add(`before${i}`)
      server.pause()
      await expect(add('while frozen')).rejects.toThrow()
      await until(() => relay.health().status === 'down', 'down')
      server.resume()
      for (let i = 0; i < 20; i++) await add(`after${i}`)
      await until(async () => (await t.outbox.stats()).pending === 0, 'drained')
      await until(() => relay.health().status === 'up', 'up, which its next look says')
      expect(new Set(t.publisher.ids)).toEqual(new Set(committed))
    } finally {
      await pool.end()
      await server.stop()
    }
  })
})
