import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, startServer } from '../support/servers/index.ts'
import { message, until } from './support/messages.ts'
import { createDatabase, type TestDatabase } from './support/postgres.ts'
import { setupOutboxOn } from './support/setup.ts'

describeWith(['postgres'], 'a relay that is killed', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database.drop())

  test('between publish and delete loses nothing, and sends again under the same ids in the same order', async () => {
    await using t = await setupOutboxOn(database.sql, { partitions: 2 })
    const { schema } = t.outbox
    await t.sql.query(`CREATE TABLE "${schema}".broker (n bigserial, id text, key text)`)
    const added = Array.from({ length: 400 }, (_, i) => message(`m${i}`, `k${i % 20}`))
    await t.sql.transaction((tx) => t.outbox.addEncoded(tx, added))
    for (const dieAt of [1, 3, 2]) {
      const script = fileURLToPath(new URL('support/doomed-relay.ts', import.meta.url))
      const args = ['--conditions=concordat-source', script, database.url, schema, String(dieAt)]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
      const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
      expect(signal).toBe('SIGKILL')
    }
    await t.relay({ leaseMs: 1_000 }).start()
    await until(async () => (await t.outbox.stats()).pending === 0, 'drained')
    const { rows } = await t.sql.query<{ id: string; key: string }>(`SELECT id, key FROM "${schema}".broker ORDER BY n`)
    const sent = [...rows, ...t.publisher.confirmed.map(({ id, key }) => ({ id, key }))]
    expect(sent.length).toBeGreaterThan(added.length)
    const first = [...new Map(sent.map(({ id, key }) => [id, key]))]
    expect(new Map(first)).toEqual(new Map(added.map(({ id, key }) => [id, key])))
    for (let k = 0; k < 20; k++) {
      const expected = added.filter((m) => m.key === `k${k}`).map((m) => m.id)
      expect(first.filter(([, key]) => key === `k${k}`).map(([id]) => id)).toEqual(expected)
    }
  })
})

describeWith(['postgres'], 'a server that is killed', { private: true }, () => {
  test('comes back to a relay that goes on by itself, with nothing lost', async () => {
    const server = await startServer('postgres')
    const pool = new pg.Pool({ connectionString: server.url, max: 10 })
    const sql = pgClient(pool)
    try {
      await using t = await setupOutboxOn(sql, { partitions: 2 })
      const relay = t.relay({ leaseMs: 1_000, batchSize: 10 })
      await relay.start()
      const committed: string[] = []
      const add = async (id: string): Promise<void> => {
        await sql.transaction((tx) => t.outbox.addEncoded(tx, [message(id, `k${id.length}`)]))
        committed.push(id)
      }
      for (let i = 0; i < 50; i++) await add(`before${i}`)
      await server.kill()
      await expect(add('while down')).rejects.toThrow()
      await until(() => relay.health().status === 'down', 'down')
      await server.start()
      for (let i = 0; i < 50; i++) await add(`after${i}`)
      await until(async () => (await t.outbox.stats()).pending === 0, 'drained')
      expect(relay.health().status).toBe('up')
      expect(new Set(t.publisher.ids)).toEqual(new Set(committed))
    } finally {
      await pool.end()
      await server.stop()
    }
  })
})
