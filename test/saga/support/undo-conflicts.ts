/** Conflicts that keep a branch from being undone, and the operator's remedies: on any PostgreSQL. */
import { undo } from 'concordat/saga/undo'
import { beforeEach, describe, expect, test } from 'vitest'
import { HELD, makeTables, protectAccounts } from './undo-suite.ts'
import type { UndoWorld } from './undo-world.ts'

export function undoConflictsSuite(world: () => UndoWorld): void {
  beforeEach(() => protectAccounts(world()))

  /** Writes without knowledge of our triggers. */
  const write = (text: string): Promise<unknown> => world().sql.query(text)

  describe('a row that differs from the transaction’s result', () => {
    const target = { saga: 'order', id: 's', step: 'reserve' }

    /** Past the trigger, as replication or a superuser writes. */
    async function writePast(...statements: readonly string[]): Promise<void> {
      await world().sql.transaction(async (tx) => {
        await tx.query(`SELECT set_config('concordat.undo', '{"by":"operator"}', true)`)
        for (const text of statements) await tx.query(text)
      })
    }

    test('is reported column by column, and nothing is undone', async () => {
      const { act, ask, rows, sql, schema } = world()
      await act([
        "UPDATE account SET cents = 5 WHERE id IN ('a', 'b')",
        "INSERT INTO account VALUES ('n', 1)",
        "DELETE FROM account WHERE id = 'c'",
      ])
      await writePast(
        "UPDATE account SET cents = 6 WHERE id = 'a'",
        "DELETE FROM account WHERE id = 'b'",
        "INSERT INTO account VALUES ('c', 9)",
      )
      const left = await rows('account')
      const reply = await ask('compensate')
      expect(reply).toMatchObject({ status: 'failed', final: true, code: 'saga.undo_conflict' })
      expect(reply.message).toContain(
        'public.account id=a cents: expected 5, found 6; public.account id=b: expected a row, found no row; ',
      )
      expect(await rows('account')).toEqual(left)
      const differences = await undo.differences(sql, target, { schema })
      expect(differences.map(({ key, column, expected, found }) => [key, column, expected, found])).toEqual([
        [{ id: 'a' }, 'cents', '5', '6'],
        [{ id: 'b' }, undefined, 'a row', 'no row'],
        [{ id: 'c' }, undefined, 'no row', 'a row'],
      ])
    })

    test('is undone once it was put right by hand', async () => {
      const { act, ask, rows, sql, schema } = world()
      const before = await rows('account')
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'"])
      await writePast("UPDATE account SET cents = 6 WHERE id = 'a'")
      expect(await ask('compensate')).toMatchObject({ code: 'saga.undo_conflict' })
      await writePast("UPDATE account SET cents = 5 WHERE id = 'a'")
      expect(await undo.differences(sql, target, { schema })).toEqual([])
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect(await rows('account')).toEqual(before)
    })

    test('is not overwritten where the transaction left the row as it was', async () => {
      const { act, ask, rows } = world()
      const moves = ["UPDATE account SET id = 'y' WHERE id = 'b'", "UPDATE account SET id = 'b' WHERE id = 'y'"]
      await act([2, 1].map((cents) => `UPDATE account SET cents = ${cents} WHERE id = 'a'`).concat(moves))
      await writePast("UPDATE account SET cents = 500 WHERE id = 'a'", "UPDATE account SET id = 'z' WHERE id = 'b'")
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect(await rows('account')).toEqual(['(a,500,a@x)', '(c,3,c@x)', '(z,2,b@x)'])
    })

    test('is undone where it is as it was before the transaction', async () => {
      const { act, ask, kept, rows, schema, sql } = world()
      const before = await rows('account')
      await act([
        "UPDATE account SET cents = 5 WHERE id IN ('a', 'b')",
        "INSERT INTO account VALUES ('n', 1)",
        "DELETE FROM account WHERE id = 'c'",
      ])
      await writePast(
        "UPDATE account SET cents = 1 WHERE id = 'a'",
        "DELETE FROM account WHERE id = 'n'",
        "INSERT INTO account VALUES ('c', 3, 'c@x')",
      )
      expect(await undo.differences(sql, target, { schema })).toEqual([])
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect([await rows('account'), await kept()]).toEqual([before, [0, 0, 0]])
    })

    test('is reported where it was moved, and one of its two places is as it was before', async () => {
      const { act, ask, rows } = world()
      await act(["UPDATE account SET id = 'z' WHERE id = 'a'"])
      await writePast("UPDATE account SET email = NULL WHERE id = 'z'", "INSERT INTO account VALUES ('a', 1, 'a@x')")
      const { code, message } = await ask('compensate')
      expect(code).toBe('saga.undo_conflict')
      expect(message).toContain(
        'id=a: expected no row, found a row; public.account id=z email: expected a@x, found null',
      )
      expect(await rows('account')).toHaveLength(4)
    })

    test.each([
      ['keep', ['(a,6,a@x)', '(b,2,b@x)', '(c,9,)']],
      ['restore', ['(a,1,a@x)', '(b,2,b@x)', '(c,3,c@x)']],
    ] as const)('is settled by an operator: %s', async (choice, expected) => {
      const { act, ask, rows, kept, sql, schema } = world()
      await act(["UPDATE account SET cents = 5 WHERE id IN ('a', 'b')", "DELETE FROM account WHERE id = 'c'"])
      await writePast("UPDATE account SET cents = 6 WHERE id = 'a'", "INSERT INTO account VALUES ('c', 9)")
      await ask('compensate')
      expect(await undo.open(sql, { schema })).toEqual([
        {
          saga: 'order',
          id: 's',
          step: 'reserve',
          service: 'orders',
          birth: 'orders.saga-replies',
          since: expect.any(Number),
          changes: 3,
          tables: ['account'],
        },
      ])
      await undo.settle(sql, target, choice, { schema })
      expect(await rows('account')).toEqual(expected)
      expect(await kept()).toEqual([0, 0, 0])
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      await expect(undo.settle(sql, target, choice, { schema })).rejects.toMatchObject({ code: 'saga.undo_not_found' })
    })

    test.each([
      ['keep', ['(b,2,b@x)', '(c,3,c@x)', '(z,6,a@x)']],
      ['restore', ['(a,1,a@x)', '(b,2,b@x)', '(c,3,c@x)']],
    ] as const)('is settled where the branch had changed its key: %s', async (choice, expected) => {
      const { act, ask, rows, kept, sql, schema } = world()
      await act(["UPDATE account SET id = 'y' WHERE id = 'a'", "UPDATE account SET id = 'z', cents = 5 WHERE id = 'y'"])
      await writePast("UPDATE account SET cents = 6 WHERE id = 'z'")
      expect(await ask('compensate')).toMatchObject({ code: 'saga.undo_conflict' })
      await undo.settle(sql, target, choice, { schema })
      expect([await rows('account'), await kept()]).toEqual([expected, [0, 0, 0]])
    })

    test('settled before its saga was decided can no longer be confirmed', async () => {
      const { act, ask, sql, schema } = world()
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'"])
      await undo.settle(sql, target, 'restore', { schema })
      expect(await ask('confirm')).toMatchObject({ status: 'failed', code: 'saga.not_reserved' })
    })

    test('accepted by an operator it stays: a confirmation finds it done, and a cancellation is refused', async () => {
      const { act, ask, rows, kept, sql, schema } = world()
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'"])
      await undo.settle(sql, target, 'accept', { schema })
      expect([(await rows('account'))[0], await kept()]).toEqual(['(a,5,a@x)', [0, 0, 0]])
      await write("UPDATE account SET cents = 7 WHERE id = 'a'")
      expect(await ask('confirm')).toMatchObject({ status: 'ok' })
      expect(await ask('compensate')).toMatchObject({ status: 'failed', code: 'saga.confirmed' })
      expect((await rows('account'))[0]).toBe('(a,7,a@x)')
    })

    test('is not reported in hidden columns', async () => {
      const { act, ask, sql, schema } = world()
      await undo.protect(sql, [{ table: 'account', hidden: ['email'] }], { schema })
      await act(["UPDATE account SET email = 'secret-1' WHERE id = 'a'"])
      await writePast("UPDATE account SET email = 'secret-2' WHERE id = 'a'")
      const { message } = await ask('compensate')
      expect(message).toContain('email: expected (hidden), found (hidden)')
      expect(message).not.toContain('secret')
    })

    test('is not reported by a hidden key, and neither is a row that is held', async () => {
      const { act, ask, sql, schema } = world()
      await undo.protect(sql, [{ table: 'account', hidden: ['id', 'email'] }], { schema })
      await write("UPDATE account SET email = 'secret-mail' WHERE id = 'c'")
      await act(["INSERT INTO account VALUES ('secret-id', 5)", "UPDATE account SET email = 'x' WHERE id = 'c'"])
      for (const text of [
        "DELETE FROM account WHERE id = 'secret-id'",
        "INSERT INTO account VALUES ('secret-2', 1, 'secret-mail')",
      ]) {
        const error: unknown = await write(text).catch((reason: unknown) => reason)
        expect(error).toMatchObject({ ...HELD, message: expect.stringContaining('row {"id": "(hidden)"} of') })
        expect(String(error)).not.toContain('secret')
      }
      await writePast("UPDATE account SET cents = 6 WHERE id = 'secret-id'")
      const { message } = await ask('compensate')
      expect(message).toContain('id=(hidden) cents: expected 5, found 6')
      expect(message).not.toContain('secret')
    })
  })

  describe('a column that is changed while an undo waits', () => {
    const act = async (): Promise<void> => {
      await world().act([
        "UPDATE account SET cents = 5, email = 'z' WHERE id = 'a'",
        "DELETE FROM account WHERE id = 'c'",
      ])
    }

    test.each([
      ['is added', 'ALTER TABLE account ADD COLUMN more int DEFAULT 7', ['(a,1,a@x,7)', '(b,2,b@x,7)', '(c,3,c@x,7)']],
      [
        'gets another type',
        'ALTER TABLE account ALTER cents TYPE numeric(10,2)',
        ['(a,1.00,a@x)', '(b,2.00,b@x)', '(c,3.00,c@x)'],
      ],
    ])('is put back when it %s', async (_, text, expected) => {
      const { ask, rows } = world()
      await act()
      await write(text)
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect(await rows('account')).toEqual(expected)
    })

    test('stops the undo when it is gone, and is not forgotten in silence', async () => {
      const { ask } = world()
      await act()
      await write('ALTER TABLE account RENAME COLUMN cents TO pennies')
      const { code, message } = await ask('compensate')
      expect(code).toBe('saga.undo_conflict')
      expect(message).toContain('id=a cents: expected 5, found no such column')
    })

    test('stops the undo when it is the key, until it has its name back', async () => {
      const { ask, rows } = world()
      await act()
      await write('ALTER TABLE account RENAME COLUMN id TO name')
      const { code, message } = await ask('compensate')
      expect(code).toBe('saga.undo_conflict')
      expect(message).toMatch(/its name "id" back.*column "id" of the primary key, found no such column/)
      await write('ALTER TABLE account RENAME COLUMN name TO id')
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect(await rows('account')).toEqual(['(a,1,a@x)', '(b,2,b@x)', '(c,3,c@x)'])
    })

    test.each(['keep', 'accept'] as const)('is settled where it is the key: %s', async (choice) => {
      const { rows, kept, sql, schema } = world()
      await act()
      await write('ALTER TABLE account RENAME COLUMN id TO name')
      const place = { saga: 'order', id: 's', step: 'reserve' }
      await expect(undo.settle(sql, place, 'restore', { schema })).rejects.toMatchObject({ code: 'saga.undo_conflict' })
      await undo.settle(sql, place, choice, { schema })
      expect([await rows('account'), await kept()]).toEqual([
        ['(a,5,z)', '(b,2,b@x)'],
        [0, 0, 0],
      ])
    })
  })

  describe('a table that was altered since it was protected', () => {
    const added = "ALTER TABLE account ADD COLUMN at timestamptz DEFAULT '2026-01-02 03:04:05.678901+00'"
    const alterations = [
      ['has a column more', [added], "UPDATE account SET at = '2001-01-01', cents = 9"],
      [
        'has columns of other types',
        [
          'ALTER TABLE account ALTER cents TYPE double precision USING cents / 3.0',
          'ALTER TABLE account ALTER email TYPE bytea USING email::bytea',
        ],
        "UPDATE account SET cents = cents * 1.1, email = email || '\\x00'",
      ],
      ['has a column less', ['ALTER TABLE account DROP COLUMN cents'], "UPDATE account SET email = email || 'z'"],
      [
        'has a column with another name',
        ['ALTER TABLE account RENAME COLUMN cents TO pennies'],
        'UPDATE account SET pennies = 9',
      ],
    ] as const

    test.each(alterations.flatMap((each) => [[...each, 'was not'] as const, [...each, 'was'] as const]))(
      '%s: later writes are undone exactly (%#)',
      async (_, alter, change, again) => {
        const { act, ask, rows, sql, schema } = world()
        for (const text of alter) await write(text)
        if (again === 'was') await undo.protect(sql, ['account'], { schema })
        const before = await rows('account')
        const settings =
          "SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL DateStyle = 'SQL, DMY'; SET LOCAL extra_float_digits = 0"
        await act([...settings.split('; '), change, "DELETE FROM account WHERE id = 'c'"])
        expect(await rows('account')).not.toEqual(before)
        expect(await ask('compensate')).toMatchObject({ status: 'ok' })
        expect(await rows('account')).toEqual(before)
      },
    )
  })

  describe('what triggers of the table change when it is put back', () => {
    const touch = [
      'ALTER TABLE account ADD COLUMN touched int DEFAULT 0',
      `CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := coalesce(NEW.touched, 0) + 1; RETURN NEW; END $$`,
      'CREATE TRIGGER touch BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION touch()',
    ]

    test('stops the undo, unless its column is ignored', async () => {
      const { act, ask, rows, sql, schema } = world()
      for (const text of touch) await write(text)
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'"])
      const { code, message } = await ask('compensate')
      expect(code).toBe('saga.undo_conflict')
      expect(message).toContain('touched: expected 0, found')
      await undo.protect(sql, [{ table: 'account', ignored: ['touched'] }], { schema })
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect((await rows('account'))[0]).toBe('(a,1,a@x,2)')
    })
  })

  test('undoing deletes no row that another writer added beside it', async () => {
    const { act, ask, rows, sql, schema } = world()
    await makeTables(sql, [
      'CREATE TABLE parent (id int PRIMARY KEY)',
      'CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE)',
    ])
    await undo.protect(sql, ['parent', 'child'], { schema })
    await act(['INSERT INTO parent VALUES (1)'])
    await write('INSERT INTO child VALUES (1, 1)')
    expect(await ask('compensate')).toMatchObject({ status: 'failed', code: 'CC011' })
    expect(await rows('child')).toEqual(['(1,1)'])
    await write('DELETE FROM child')
    expect(await ask('compensate')).toMatchObject({ status: 'ok' })
    expect(await rows('parent')).toEqual([])
  })

  test('undoing changes no table that is not protected, and names it', async () => {
    const { act, ask, rows, sql, schema } = world()
    await makeTables(sql, ['CREATE TABLE parent (id int PRIMARY KEY)'])
    await undo.protect(sql, ['parent'], { schema })
    await act(['INSERT INTO parent VALUES (1)'])
    await write('CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE)')
    await write('INSERT INTO child VALUES (1, 1)')
    const conflict = {
      code: 'saga.undo_conflict',
      message: expect.stringContaining('public.child: expected no change'),
    }
    expect(await ask('compensate')).toMatchObject({ status: 'failed', final: true, ...conflict })
    const target = { saga: 'order', id: 's', step: 'reserve' }
    await expect(undo.settle(sql, target, 'restore', { schema })).rejects.toMatchObject(conflict)
    expect(await rows('child')).toEqual(['(1,1)'])
    await write('DELETE FROM child')
    expect(await ask('compensate')).toMatchObject({ status: 'ok' })
    expect(await rows('parent')).toEqual([])
  })

  test('undoing may write wherever the branch could write', async () => {
    const { ask, bind, rows } = world()
    await write('CREATE TABLE log (cents int)')
    await write(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO log VALUES (NEW.cents); RETURN NULL; END $$`)
    await write('CREATE TRIGGER note AFTER UPDATE ON account FOR EACH ROW EXECUTE FUNCTION note()')
    const binding = bind((tx) => tx.query("UPDATE account SET cents = 5 WHERE id = 'a'"), { alsoWrites: ['log'] })
    expect(await ask('invoke', {}, binding)).toMatchObject({ status: 'ok' })
    expect(await ask('compensate')).toMatchObject({ status: 'ok' })
    expect(await rows('log')).toEqual(['(1)', '(5)'])
  })

  test('a constraint trigger that would write at the commit is seen, too', async () => {
    const { act, rows } = world()
    await write('CREATE TABLE log (id text)')
    await write(`CREATE FUNCTION note_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO log VALUES (NEW.id); RETURN NULL; END $$`)
    await write(`CREATE CONSTRAINT TRIGGER note AFTER UPDATE ON account DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION note_late()`)
    expect(await act(["UPDATE account SET cents = 5 WHERE id = 'a'"])).toMatchObject({
      code: 'saga.undo_not_protected',
    })
    expect(await rows('log')).toEqual([])
  })
}
