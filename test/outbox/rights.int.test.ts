import { createBinder, defineChannel, sink } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { createInbox } from 'concordat/outbox'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { memoryLogger } from '../binder/support/memory-logger.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

const PASSWORD = 'correct-horse-battery'

/** Each is taken from a service that runs, and given back. */
const TAKEN = [
  {
    what: 'the login',
    take: (role: string) => `ALTER ROLE ${role} NOLOGIN`,
    give: (role: string) => `ALTER ROLE ${role} LOGIN`,
  },
  {
    what: 'the right to write',
    take: (role: string, schema: string) => `REVOKE ALL ON ALL TABLES IN SCHEMA ${schema} FROM ${role}`,
    give: (role: string, schema: string) => `GRANT ALL ON ALL TABLES IN SCHEMA ${schema} TO ${role}`,
  },
  {
    what: 'the right to number rows',
    take: (role: string, schema: string) => `REVOKE ALL ON ALL SEQUENCES IN SCHEMA ${schema} FROM ${role}`,
    give: (role: string, schema: string) => `GRANT ALL ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role}`,
  },
  {
    what: 'the right to connect',
    take: (role: string) => `REVOKE CONNECT ON DATABASE ${role} FROM ${role}, PUBLIC`,
    give: (role: string) => `GRANT CONNECT ON DATABASE ${role} TO ${role}`,
  },
] as const

describeWith(['postgres'], 'a role of PostgreSQL that loses its rights', () => {
  const role = `rights_${process.pid}`
  const schema = 'handled'
  const own = new URL(serverUrl('postgres') as string)
  own.pathname = `/${role}`
  const root = new pg.Pool({ connectionString: serverUrl('postgres'), max: 2 })
  const inside = new pg.Pool({ connectionString: own.href, max: 2 })

  beforeAll(async () => {
    await root.query(`CREATE ROLE ${role} LOGIN PASSWORD '${PASSWORD}'`)
    await root.query(`CREATE DATABASE ${role}`)
    await createInbox({ sql: pgClient(inside), schema }).migrate()
    await inside.query(`CREATE TABLE ${schema}.done (n int, seq bigserial)`)
    await inside.query(`GRANT USAGE ON SCHEMA ${schema} TO ${role}`)
    for (const kind of ['TABLES', 'SEQUENCES'])
      await inside.query(`GRANT ALL ON ALL ${kind} IN SCHEMA ${schema} TO ${role}`)
  })
  afterAll(async () => {
    await inside.end()
    await root.query(`DROP DATABASE ${role} WITH (FORCE)`)
    await root.query(`DROP ROLE ${role}`)
    await root.end()
  })

  it.for(TAKEN)(
    '$what: no attempt is used up, and each message is handled once when it has them again',
    async ({ take, give }) => {
      await inside.query(`TRUNCATE ${schema}.done`)
      const channel = defineChannel('numbers', { payload: z.number(), groups: ['g'] })
      own.username = role
      own.password = PASSWORD
      const pool = new pg.Pool({ connectionString: own.href, max: 4, connectionTimeoutMillis: 2_000 })
      const sql = pgClient(pool)
      const { logger, lines } = memoryLogger()
      const attempts = new Set<number>()
      const inbox = createInbox({ sql, schema })
      const work = sink(
        channel,
        { group: 'g', inbox, maxAttempts: 2, backoff: { initialMs: 1 } },
        async (n, { tx, attempt }) => {
          attempts.add(attempt)
          await tx.query(`INSERT INTO ${schema}.done VALUES ($1)`, [n])
        },
      )
      const binder = createBinder({ service: 'rights', transport: memoryTransport(), bindings: [work], logger })
      onTestFinished(async () => {
        await binder.close()
        await pool.end()
      })
      await binder.start()
      await binder.send(channel, 1)
      await until('the first is handled', () => binder.bindings()[0]?.handled === 1)

      await root.query(take(role, schema)).catch(() => inside.query(take(role, schema)))
      await root.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [role])
      for (const n of [2, 3, 4]) await binder.send(channel, n)
      const failed = (): number => lines.filter(([, text]) => /no attempt/.test(String(text))).length
      await until('each has failed some times', () => failed() >= 9 || binder.bindings()[0]?.deadLettered !== 0)
      await root.query(give(role, schema)).catch(() => inside.query(give(role, schema)))

      await until('all are handled', () => binder.bindings()[0]?.handled === 4)
      expect(binder.bindings()[0]).toMatchObject({ state: 'running', deadLettered: 0 })
      expect([...attempts]).toEqual([1])
      const { rows } = await inside.query<{ n: number }>(`SELECT n FROM ${schema}.done ORDER BY n`)
      expect(rows.map(({ n }) => n)).toEqual([1, 2, 3, 4])
      expect(JSON.stringify(lines)).not.toContain(PASSWORD)
    },
  )
})
