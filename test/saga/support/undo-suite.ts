/** Tests of undo on any PostgreSQL: PGlite and a server run the same. */
import type { SqlClient } from 'concordat/core'
import { type SagaReply } from 'concordat/saga'
import { undo } from 'concordat/saga/undo'
import { describe, expect, test } from 'vitest'
import { UNDO_CASES, type UndoCase } from './undo-tables.ts'
import type { UndoWorld } from './undo-world.ts'

export function undoSuite(world: () => UndoWorld): void {
  let ids = 0

  async function made({ tables, protect }: UndoCase): Promise<readonly string[]> {
    const { sql, schema } = world()
    const names = await makeTables(sql, tables)
    await undo.protect(sql, protect, { schema })
    return names
  }

  const all = (names: readonly string[]): Promise<readonly (readonly string[])[]> =>
    Promise.all(names.map((name) => world().rows(name)))

  describe.each(UNDO_CASES)('$name', (given) => {
    test('are unchanged once it is cancelled', async () => {
      const { act, ask, kept } = world()
      const names = await made(given)
      const before = await all(names)
      const of = { id: `c${++ids}` }
      expect(said(await act(given.work, of))).toBe('ok')
      expect(said(await ask('compensate', of))).toBe('ok')
      expect(await all(names)).toEqual(before)
      expect(await kept()).toEqual([0, 0, 0])
    })

    test('stay as they are once it is confirmed', async () => {
      const { act, ask, kept } = world()
      const names = await made(given)
      const of = { id: `d${++ids}` }
      expect(said(await act(given.work, of))).toBe('ok')
      const after = await all(names)
      expect(said(await ask('confirm', of))).toBe('ok')
      expect(await all(names)).toEqual(after)
      expect(await kept()).toEqual([0, 0, 0])
    })
  })
}

/** Outcome with its reason, so that a failing test shows it. */
function said({ status, code, message }: SagaReply): string {
  return status === 'ok' ? status : `${status} ${code}: ${message}`
}

/** Drops everything but our own tables first. @returns the tables with rows of their own */
export async function makeTables(sql: SqlClient, statements: readonly string[]): Promise<readonly string[]> {
  await dropTables(sql)
  for (const text of statements) await sql.query(text)
  const { rows } = await sql.query<{ name: string }>(
    `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND (n.nspname = 'public' OR n.nspname LIKE 'Odd%') ORDER BY 1`,
  )
  return rows.map(({ name }) => name)
}

async function dropTables(sql: SqlClient): Promise<void> {
  await sql.query('DROP SCHEMA IF EXISTS "Odd ""one""" CASCADE')
  await sql.query('DROP SCHEMA public CASCADE')
  await sql.query('CREATE SCHEMA public')
  for (const own of ['saga_undo_table', 'saga_undo', 'saga_undo_image', 'saga_undo_lock', 'saga_barrier'])
    await sql.query(`DELETE FROM undo_suite.${own}`)
}

/** Error of the database for a row that a saga holds. */
export const HELD = { code: '55P03', constraint: 'concordat_undo' }

/** Three accounts with two unique keys, protected. */
export async function protectAccounts({ sql, schema }: UndoWorld): Promise<void> {
  await makeTables(sql, [
    'CREATE TABLE account (id text PRIMARY KEY, cents int NOT NULL, email text UNIQUE)',
    "INSERT INTO account VALUES ('a', 1, 'a@x'), ('b', 2, 'b@x'), ('c', 3, 'c@x')",
  ])
  await undo.protect(sql, ['account'], { schema })
}
