/** The same on a server, and what needs several connections. */
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { undo } from 'concordat/saga/undo'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { undoConflictsSuite } from '../support/undo-conflicts.ts'
import { undoOrdinarySuite } from '../support/undo-ordinary.ts'
import { undoProtectSuite } from '../support/undo-protect.ts'
import { makeTables, undoSuite } from '../support/undo-suite.ts'
import { type UndoWorld, undoWorld } from '../support/undo-world.ts'
import { undoWritersSuite } from '../support/undo-writers.ts'

describeWith(['postgres'], 'undo on a server', () => {
  let database: TestDatabase
  let world: UndoWorld

  beforeAll(async () => {
    database = await createDatabase(12)
    world = undoWorld(database.sql, 'undo_suite')
    await world.ready()
  }, 120_000)
  afterAll(() => database.drop())

  describe('rows that are undone', () => undoSuite(() => world))
  describe('writers', () => undoWritersSuite(() => world))
  describe('conflicts', () => undoConflictsSuite(() => world))
  describe('tables', () => undoProtectSuite(() => world))
  describe('ordinary schemas', () => undoOrdinarySuite(() => world))

  describe('at the same time', () => {
    let sql: SqlClient
    beforeEach(async () => {
      ;({ sql } = database)
      await makeTables(sql, [
        'CREATE TABLE account (id text PRIMARY KEY, cents int NOT NULL, email text UNIQUE)',
        "INSERT INTO account SELECT 'a' || n, 100, 'e' || n FROM generate_series(0, 9) n",
      ])
      await undo.protect(sql, ['account'], { schema: world.schema })
    })

    /** Connections that a failed test left open: the next test, which drops their tables, would wait for them. */
    const left = new Set<pg.PoolClient>()
    afterEach(async () => {
      for (const client of left) await close(client)
    })

    /** A connection with an open transaction. */
    async function open(isolation = 'READ COMMITTED'): Promise<pg.PoolClient> {
      const client = await database.pool.connect()
      left.add(client)
      await client.query(`BEGIN ISOLATION LEVEL ${isolation}`)
      return client
    }

    async function close(client: pg.PoolClient, how: 'COMMIT' | 'ROLLBACK' = 'ROLLBACK'): Promise<void> {
      left.delete(client)
      await client.query(how)
      client.release()
    }

    test('a writer that waited for the branch is refused once that is committed', async () => {
      const [inside, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const branch = world.act(async (tx) => {
        await tx.query("UPDATE account SET cents = 1 WHERE id = 'a1'")
        inside.resolve()
        await go.promise
      })
      await inside.promise
      const other = await open()
      const written = other.query("UPDATE account SET cents = 2 WHERE id = 'a1'").catch((error: unknown) => error)
      await until('it waits', async () => (await waiting(sql)) > 0)
      go.resolve()
      await branch
      expect(await written).toMatchObject({ code: '55P03', constraint: 'concordat_undo' })
      await close(other)
      expect(await world.ask('compensate')).toMatchObject({ status: 'ok' })
    })

    test('a branch that is still being done keeps its rows when all others of its saga are cancelled', async () => {
      const [inside, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const [early, late] = [{ step: 'early' }, { step: 'late' }]
      await world.act(["UPDATE account SET cents = 1 WHERE id = 'a1'"], early)
      const branch = world.act(async (tx) => {
        await tx.query("UPDATE account SET cents = 1 WHERE id = 'a2'")
        inside.resolve()
        await go.promise
      }, late)
      await inside.promise
      expect(await world.ask('compensate', early)).toMatchObject({ status: 'failed', code: 'saga.undo_not_yet' })
      go.resolve()
      expect(await branch).toMatchObject({ status: 'ok' })
      expect(await world.ask('compensate', early)).toMatchObject({ status: 'ok' })
      const other = await open()
      await expect(other.query("UPDATE account SET cents = 2 WHERE id = 'a2'")).rejects.toMatchObject({ code: '55P03' })
      await close(other)
      expect(await world.ask('compensate', late)).toMatchObject({ status: 'ok' })
      expect(await world.kept()).toEqual([0, 0, 0])
    })

    test('an operator who waits for a confirmation finds nothing to settle once it is done', async () => {
      await world.act(["UPDATE account SET cents = 1 WHERE id = 'a1'"])
      const other = await open()
      await other.query(`SELECT FROM ${world.schema}.saga_barrier FOR UPDATE`)
      const confirmed = world.ask(
        'confirm',
        {},
        world.bind(() => {}, { lockTimeoutMs: 20_000 }),
      )
      await until('it waits', async () => (await waiting(sql)) > 0)
      const settled = undo
        .settle(sql, { saga: 'order', id: 's', step: 'reserve' }, 'restore', { schema: world.schema })
        .catch((error: unknown) => error)
      await until('both wait', async () => (await waiting(sql)) > 1)
      await close(other)
      expect(await confirmed).toMatchObject({ status: 'ok' })
      expect(await settled).toMatchObject({ code: 'saga.undo_not_found' })
      expect((await world.rows('account'))[1]).toContain('(a1,1,')
    })

    test('undo.protect waits for a transaction that writes, and lets other writers pass', {
      timeout: 60_000,
    }, async () => {
      await sql.query('CREATE TABLE fresh (id int PRIMARY KEY)')
      const first = await open()
      await first.query('INSERT INTO fresh VALUES (1)')
      const isProtected = undo.protect(sql, ['fresh'], { schema: world.schema })
      await until('it waits', async () => (await waiting(sql)) > 0)
      await sql.query('INSERT INTO fresh VALUES (2)')
      await close(first, 'COMMIT')
      await isProtected
      expect(await undo.protected(sql, { schema: world.schema })).toContainEqual(
        expect.objectContaining({ table: 'public.fresh', held: 0 }),
      )
    })

    test('the cancellation does not wait for a writer that was refused and does not end its transaction', async () => {
      await world.act(["UPDATE account SET cents = 1 WHERE id = 'a1'"])
      const other = await open()
      await expect(other.query("UPDATE account SET cents = 2 WHERE id = 'a1'")).rejects.toMatchObject({ code: '55P03' })
      expect(await world.ask('compensate')).toMatchObject({ status: 'ok' })
      await close(other)
    })

    test.each(['REPEATABLE READ', 'SERIALIZABLE'])(
      'a writer with a snapshot from before is refused, too: %s',
      async (isolation) => {
        for (const [work, text] of [
          ["DELETE FROM account WHERE id = 'a1'", "INSERT INTO account VALUES ('a1', 5, 'new')"],
          ["UPDATE account SET email = 'other' WHERE id = 'a2'", "INSERT INTO account VALUES ('q', 5, 'e2')"],
          ["UPDATE account SET cents = 1 WHERE id = 'a3'", "UPDATE account SET cents = 5 WHERE id = 'a3'"],
        ] as const) {
          const other = await open(isolation)
          await other.query('SELECT FROM account')
          await world.act([work], { id: `${isolation} ${text}` })
          await expect(other.query(text)).rejects.toMatchObject({ code: '40001' })
          await close(other)
          const later = await open(isolation)
          await expect(later.query(text)).rejects.toMatchObject({ code: '55P03' })
          await close(later)
          await world.ask('compensate', { id: `${isolation} ${text}` })
        }
      },
    )

    test('writers with a snapshot can change free rows', async () => {
      await world.act(["UPDATE account SET cents = 1 WHERE id = 'a1'"])
      const [one, two] = [await open('SERIALIZABLE'), await open('REPEATABLE READ')]
      await one.query("INSERT INTO account VALUES ('n1', 1, 'n1')")
      await two.query("INSERT INTO account VALUES ('n2', 1, 'n2')")
      await one.query("UPDATE account SET cents = 5 WHERE id = 'a2'")
      await close(one, 'COMMIT')
      await close(two, 'COMMIT')
      await world.ask('compensate')
      expect(await world.kept()).toEqual([0, 0, 0])
    })

    test('COPY is undone, and refused to others', async () => {
      const copy = async (client: { query(text: string): Promise<unknown> }) => {
        await client.query("COPY account FROM PROGRAM 'echo c1,5,c1' WITH (FORMAT csv)")
      }
      await world.act((tx) => copy(tx))
      const other = await open()
      await expect(other.query("DELETE FROM account WHERE id = 'c1'")).rejects.toMatchObject({ code: '55P03' })
      await close(other)
      await world.ask('compensate')
      expect(await world.rows('account')).toHaveLength(10)
      await world.act(["DELETE FROM account WHERE id = 'a1'"], { id: 'copied' })
      const third = await open()
      const refused = third.query("COPY account FROM PROGRAM 'echo a1,5,x' WITH (FORMAT csv)")
      await expect(refused).rejects.toMatchObject({ code: '55P03' })
      await close(third)
      await world.ask('compensate', { id: 'copied' })
    })

    test('a role that may not see our tables writes protected ones, and is refused rows that are held', async () => {
      const role = `undo_${process.pid}`
      await sql.query(`CREATE ROLE ${role} LOGIN`)
      await sql.query(`GRANT USAGE ON SCHEMA public TO ${role}`)
      await sql.query(`GRANT ALL ON account TO ${role}`)
      const url = new URL(database.url)
      url.username = role
      const pool = new pg.Pool({ connectionString: url.href, max: 1 })
      const foreign = pgClient(pool)
      await world.act(["UPDATE account SET cents = 1 WHERE id = 'a1'"])
      await foreign.query("UPDATE account SET cents = 2 WHERE id = 'a2'")
      await expect(foreign.query("UPDATE account SET cents = 2 WHERE id = 'a1'")).rejects.toMatchObject({
        code: '55P03',
      })
      await world.ask('compensate')
      await foreign.query("UPDATE account SET cents = 2 WHERE id = 'a1'")
      await pool.end()
      await sql.query(`DROP OWNED BY ${role}`)
      await sql.query(`DROP ROLE ${role}`)
    })

    test('rows that row-level security hides from the cancelling role do not count as changed', async () => {
      const role = `undo_ruled_${process.pid}`
      for (const text of [
        `CREATE ROLE ${role} LOGIN`,
        `GRANT USAGE ON SCHEMA public, ${world.schema} TO ${role}`,
        `GRANT ALL ON ALL TABLES IN SCHEMA public, ${world.schema} TO ${role}`,
        `GRANT ALL ON ALL SEQUENCES IN SCHEMA ${world.schema} TO ${role}`,
      ])
        await sql.query(text)
      const url = new URL(database.url)
      url.username = role
      const pool = new pg.Pool({ connectionString: url.href, max: 2 })
      const ruled = undoWorld(pgClient(pool), world.schema)
      expect(await ruled.act(["UPDATE account SET cents = 1 WHERE id = 'a1'"])).toMatchObject({ status: 'ok' })
      await sql.query('ALTER TABLE account ENABLE ROW LEVEL SECURITY')
      expect(await ruled.ask('compensate')).toMatchObject({
        status: 'failed',
        code: 'saga.undo_conflict',
        message: expect.stringMatching(
          new RegExp(`BYPASSRLS.*expected role ${role} to see all rows, found row-level security applies`),
        ),
      })
      await sql.query(`CREATE POLICY undo ON account FOR ALL TO ${role} USING (true)`)
      expect(await ruled.ask('compensate')).toMatchObject({ status: 'ok' })
      expect((await world.rows('account'))[1]).toContain('(a1,100,')
      await pool.end()
      await sql.query(`DROP OWNED BY ${role}`)
      await sql.query(`DROP ROLE ${role}`)
    })

    test('sagas and other writers that move money between few accounts lose no cent, whichever are cancelled', async () => {
      const move = (from: number, to: number): readonly string[] => [
        `UPDATE account SET cents = cents - 1 WHERE id = 'a${from}'`,
        `UPDATE account SET cents = cents + 1 WHERE id = 'a${to}'`,
      ]
      const pick = (): [number, number] => {
        const from = Math.floor(Math.random() * 5)
        return [from, (from + 1 + Math.floor(Math.random() * 4)) % 5]
      }
      const saga = async (worker: number): Promise<void> => {
        for (let n = 0; n < 12; n++) {
          const of = { id: `m-${worker}-${n}` }
          const binding = world.bind(
            async (tx) => {
              for (const text of move(...pick())) await tx.query(text)
            },
            { lockTimeoutMs: 2_000, maxAttempts: 1 },
          )
          await world.ask('invoke', of, binding)
          for (const last of Math.random() < 0.5 ? (['compensate'] as const) : (['confirm', 'compensate'] as const)) {
            await world.ask(last, of)
          }
        }
      }
      let [refused, working] = [0, true]
      const writer = async (): Promise<void> => {
        while (working) {
          await sql
            .transaction(async (tx) => {
              for (const text of move(...pick())) await tx.query(text)
            })
            .catch(() => refused++)
        }
      }
      const writers = Promise.all([writer(), writer()])
      await Promise.all([saga(1), saga(2), saga(3)]).finally(() => (working = false))
      await writers
      const { rows } = await sql.query<{ cents: number }>('SELECT sum(cents)::int AS cents FROM account')
      expect(rows).toEqual([{ cents: 1_000 }])
      expect(await world.kept()).toEqual([0, 0, 0])
      expect(refused).toBeGreaterThan(0)
    }, 60_000)
  })
})

async function waiting(sql: SqlClient): Promise<number> {
  const { rows } = await sql.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
  )
  return rows[0]?.n ?? 0
}
