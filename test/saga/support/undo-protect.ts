/** Tables that can be protected: on any PostgreSQL. */
import { undo } from 'concordat/saga/undo'
import { describe, expect, test } from 'vitest'
import { makeTables } from './undo-suite.ts'
import type { UndoWorld } from './undo-world.ts'

export function undoProtectSuite(world: () => UndoWorld): void {
  const make = (...tables: readonly string[]): Promise<unknown> => makeTables(world().sql, tables)
  const protect = (...tables: readonly string[]): Promise<void> =>
    undo.protect(world().sql, tables, { schema: world().schema })
  const listed = () => undo.protected(world().sql, { schema: world().schema })

  describe('undo.protect', () => {
    test.each([
      ['no primary key', ['CREATE TABLE t (id int)'], 'has no primary key'],
      ['a name that is unknown', ['SELECT 1'], 'does not exist'],
      ['a view', ['CREATE VIEW t AS SELECT 1 AS id'], 'is no table'],
      ['an unlogged table', ['CREATE UNLOGGED TABLE t (id int PRIMARY KEY)'], 'unlogged'],
      [
        'a partition',
        ['CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)', 'CREATE TABLE t PARTITION OF p DEFAULT'],
        'is a partition',
      ],
      ['tables that inherit', ['CREATE TABLE t (id int PRIMARY KEY)', 'CREATE TABLE heir () INHERITS (t)'], 'inherit'],
      ['a deferrable key', ['CREATE TABLE t (id int PRIMARY KEY DEFERRABLE)'], 'DEFERRABLE'],
      ['a key of a type with several texts for one value', ['CREATE TABLE t (id interval PRIMARY KEY)'], '"id"'],
      [
        'a key that ignores case',
        [
          "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
          'CREATE TABLE t (id text COLLATE loose PRIMARY KEY)',
        ],
        '"id"',
      ],
      [
        'a cascade to a table that is not protected',
        [
          'CREATE TABLE t (id int PRIMARY KEY)',
          'CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE)',
        ],
        'public.child',
      ],
    ])('refuses %s by name, and protects nothing', async (_, tables, problem) => {
      await make('CREATE TABLE good (id int PRIMARY KEY)', ...tables)
      await expect(protect('good', 't')).rejects.toMatchObject({
        code: 'saga.undo_table',
        table: expect.stringMatching(/^(public\.)?t$/),
        message: expect.stringContaining(problem),
      })
      expect(await listed()).toEqual([])
    })

    test('may be called again, and is listed', async () => {
      await make('CREATE TABLE t (tenant int, id int, PRIMARY KEY (tenant, id))')
      for (const _ of [1, 2]) await protect('t')
      expect(await listed()).toEqual([{ table: 'public.t', key: ['tenant', 'id'], held: 0 }])
    })

    test('reports unique values that no row is held by', async () => {
      await make(
        'CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower($1) $$',
        `CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE DEFERRABLE, f float8 UNIQUE, name text, EXCLUDE USING btree (name WITH =))`,
        'CREATE UNIQUE INDEX t_plain ON t (plain(name))',
      )
      await protect('t')
      const said = (await listed()).map(({ problem }) => problem)
      for (const each of [
        '"t_n_key" (deferrable)',
        '"t_f_key" (takes values of "f" for equal that are written differently)',
        '"t_name_excl" (an exclusion constraint)',
        '"t_plain" (uses functions that are not of PostgreSQL)',
      ])
        expect(said).toEqual([expect.stringContaining(each)])
    })

    test.each([
      ['ALTER TABLE t DISABLE TRIGGER USER', 'disabled'],
      ['DROP TRIGGER _concordat_undo ON t', 'missing'],
      ['ALTER TABLE t RENAME COLUMN id TO other', 'other keys'],
      ['ALTER TABLE t DROP CONSTRAINT t_pkey', 'no primary key'],
      ['CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE)', 'public.child'],
      ['DROP TABLE t', 'is no table'],
    ])('reports that the protection is broken by %s', async (text, problem) => {
      const { sql } = world()
      await make('CREATE TABLE t (id int PRIMARY KEY)')
      await protect('t')
      await sql.query(text)
      expect(await listed()).toEqual([expect.objectContaining({ problem: expect.stringContaining(problem) })])
    })

    test('a disabled trigger is no protection: a branch that writes there fails', async () => {
      const { act, sql } = world()
      await make('CREATE TABLE t (id int PRIMARY KEY)')
      await protect('t')
      await sql.query('ALTER TABLE t DISABLE TRIGGER USER')
      expect(await act(['INSERT INTO t VALUES (1)'])).toMatchObject({
        status: 'failed',
        code: 'saga.undo_not_protected',
      })
    })
  })

  describe('undo.unprotect', () => {
    test('is refused while something may have to be undone', async () => {
      const { act, ask, sql, schema } = world()
      await make('CREATE TABLE t (id int PRIMARY KEY)')
      await protect('t')
      await act(['INSERT INTO t VALUES (1)'])
      const unprotect = () => undo.unprotect(sql, ['t'], { schema })
      await expect(unprotect()).rejects.toMatchObject({
        code: 'saga.undo_table',
        message: expect.stringContaining('order/s'),
      })
      await ask('confirm')
      for (const _ of [1, 2]) await unprotect()
      expect(await listed()).toEqual([])
      await sql.query('TRUNCATE t')
    })
  })
}
