/** Writers that know nothing of undo, and the writes that are refused: on any PostgreSQL. */
import type { SqlTransaction } from 'concordat/core'
import { undo } from 'concordat/saga/undo'
import { beforeEach, describe, expect, test } from 'vitest'
import { HELD, makeTables, protectAccounts } from './undo-suite.ts'
import type { UndoWorld } from './undo-world.ts'

export function undoWritersSuite(world: () => UndoWorld): void {
  beforeEach(() => protectAccounts(world()))

  /** Writes without knowledge of our triggers. */
  const write = (text: string): Promise<unknown> => world().sql.query(text)

  describe('another writer', () => {
    test.each([
      ['updates the row', "UPDATE account SET cents = 9 WHERE id = 'a'"],
      ['updates all rows', 'UPDATE account SET cents = 9'],
      ['deletes it', "DELETE FROM account WHERE id = 'a'"],
      ['takes its key', "UPDATE account SET id = 'a' WHERE id = 'c'", "UPDATE account SET id = 'a2' WHERE id = 'a'"],
      ['inserts it again', "INSERT INTO account VALUES ('a', 9)", "DELETE FROM account WHERE id = 'a'"],
      [
        'takes a value that it had',
        "INSERT INTO account VALUES ('q', 9, 'a@x')",
        "UPDATE account SET email = 'y' WHERE id = 'a'",
      ],
      ['deletes what was inserted', "DELETE FROM account WHERE id = 'n'", "INSERT INTO account VALUES ('n', 1)"],
      ['upserts it', "INSERT INTO account VALUES ('a', 1) ON CONFLICT (id) DO UPDATE SET cents = 9"],
    ])(
      'that %s is refused, until it is decided',
      async (_, text, work = "UPDATE account SET cents = 5 WHERE id = 'a'") => {
        const { act, ask, rows } = world()
        const before = await rows('account')
        await act([work])
        const error: unknown = await write(text).catch((reason: unknown) => reason)
        expect(error).toMatchObject({
          ...HELD,
          message: expect.stringMatching(
            /^row \{"id": "\w+"\} of public\.account (is|has a unique value that is) held by saga order\/s until/,
          ),
        })
        expect(undo.isRowHeld(error)).toBe(true)
        await ask('compensate')
        expect(await rows('account')).toEqual(before)
        await write("UPDATE account SET cents = 9 WHERE id = 'a'")
      },
    )

    test('may change other rows freely', async () => {
      const { act, ask, rows } = world()
      await act(["UPDATE account SET cents = 5, email = 'free' WHERE id = 'a'"])
      await write("UPDATE account SET cents = 7 WHERE id = 'b'")
      await write("DELETE FROM account WHERE id = 'c'")
      await write("INSERT INTO account VALUES ('d', 4, 'd@x')")
      await ask('compensate')
      expect(await rows('account')).toEqual(['(a,1,a@x)', '(b,7,b@x)', '(d,4,d@x)'])
    })

    test('and the branch itself find row locks by their key, however many there are', async () => {
      const { act, ask, sql, schema } = world()
      const MANY = `INSERT INTO account SELECT 'n' || g, g FROM generate_series(1, 300) g`
      const rowsRead = async (tx: SqlTransaction): Promise<number> => {
        const { rows } = await tx.query<{ n: number }>(
          `SELECT (seq_tup_read + idx_tup_fetch)::int AS n FROM pg_stat_xact_user_tables WHERE schemaname = $1 AND relname = 'saga_undo_lock'`,
          [schema],
        )
        return rows[0]?.n ?? Number.NaN
      }
      const counts: number[] = []
      await act(async (tx) => {
        await tx.query(MANY)
        counts.push(await rowsRead(tx))
      })
      await sql.transaction(async (tx) => {
        await tx.query(MANY.replaceAll("'n'", "'o'"))
        counts.push(await rowsRead(tx))
      })
      // A look at all of them for each row would read 45,000.
      expect(Math.max(...counts)).toBeLessThan(2_000)
      await ask('confirm')
    })

    test('writes the row again as soon as it is confirmed', async () => {
      const { act, ask, rows } = world()
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'"])
      await ask('confirm')
      await write("UPDATE account SET cents = cents + 1 WHERE id = 'a'")
      expect((await rows('account'))[0]).toBe('(a,6,a@x)')
    })

    test('cannot TRUNCATE a protected table, and neither can a branch', async () => {
      const { act, sql, schema } = world()
      await expect(write('TRUNCATE account')).rejects.toMatchObject({ code: '0A000' })
      expect(await act(['TRUNCATE account'])).toMatchObject({ status: 'failed', code: '0A000' })
      await undo.unprotect(sql, ['account'], { schema })
      await write('TRUNCATE account')
    })

    test('has its transaction made again by undo.retrying', async () => {
      const { act, ask, sql } = world()
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'"])
      let tries = 0
      const written = undo.retrying(sql, async (tx) => {
        if (++tries === 3) setImmediate(() => decided.resolve())
        await tx.query("UPDATE account SET cents = cents + 1 WHERE id = 'a'")
      })
      const decided = Promise.withResolvers<void>()
      await decided.promise
      await ask('confirm')
      await written
      expect(tries).toBeGreaterThan(3)
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'"], { id: 'other' })
      await expect(
        undo.retrying(sql, (tx) => tx.query("DELETE FROM account WHERE id = 'a'"), { timeoutMs: 30 }),
      ).rejects.toMatchObject(HELD)
    })
  })

  describe('a value that a step gave up', () => {
    const person = [
      "CREATE TYPE mood AS ENUM ('good', 'bad')",
      'CREATE TABLE person (id int PRIMARY KEY, branch text, new numeric, mood mood, gone_at timestamptz)',
    ]
    const rows = "INSERT INTO person VALUES (1, 'Ann', 1.5, 'good', NULL), (2, 'bob', 2, 'bad', NULL)"
    const given = "UPDATE person SET branch = 'x', new = 9, gone_at = now() WHERE id = 1"

    test.each([
      ['expressions', 'UNIQUE INDEX ON person (lower(branch), abs(new))', "(3, 'ANN', -1.50)", "(4, 'ANN', 2)"],
      [
        'rows that are not deleted',
        'UNIQUE INDEX ON person (branch) WHERE gone_at IS NULL',
        "(3, 'Ann')",
        "(4, 'Ann', 1.5, 'good', now())",
      ],
      [
        'rows of one kind',
        "UNIQUE INDEX ON person (new) WHERE mood = 'good'",
        "(3, 'eve', 1.50, 'good')",
        "(4, 'Ann', 1.5, 'bad')",
      ],
    ])('in an index of %s is taken by no other writer until that is decided', async (_, index, taken, other) => {
      const { act, ask, kept, rows: read, schema, sql } = world()
      await makeTables(sql, [...person, `CREATE ${index}`, rows])
      await undo.protect(sql, ['person'], { schema })
      expect(await undo.protected(sql, { schema })).toEqual([{ table: 'public.person', key: ['id'], held: 0 }])
      const before = await read('person')
      expect(await act([given])).toMatchObject({ status: 'ok' })
      await expect(write(`INSERT INTO person VALUES ${taken}`)).rejects.toMatchObject(HELD)
      await write(`INSERT INTO person VALUES ${other}`)
      const free = await sql.transaction((tx) => undo.lockRows<{ id: number }>(tx, 'person', [2], { schema }))
      expect(free.map(({ id }) => id)).toEqual([2])
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect([(await read('person')).slice(0, 2), await kept()]).toEqual([before, [0, 0, 0]])
      await act([given], { id: 'next' })
      await ask('confirm', { id: 'next' })
      await write(`INSERT INTO person VALUES ${taken}`)
    })

    test('is taken by no other writer where NULL is a value', async () => {
      const { act, ask, schema, sql } = world()
      await makeTables(sql, [
        'CREATE TABLE seat (id int PRIMARY KEY, show int, place int, UNIQUE NULLS NOT DISTINCT (show, place))',
        'INSERT INTO seat VALUES (1, 1, NULL)',
      ])
      await undo.protect(sql, ['seat'], { schema })
      await act(['UPDATE seat SET place = 7'])
      await expect(write('INSERT INTO seat VALUES (2, 1, NULL)')).rejects.toMatchObject(HELD)
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
    })
  })

  describe('another saga', () => {
    test('waits for the row, and fails for this time when it is not free', async () => {
      const { act, ask, rows } = world()
      await act(["UPDATE account SET cents = cents + 10 WHERE id = 'a'"], { id: 'one' })
      const two = { id: 'two' }
      expect(await act(["UPDATE account SET cents = cents + 100 WHERE id = 'a'"], two)).toMatchObject({
        status: 'failed',
        code: '55P03',
      })
      await ask('compensate', { id: 'one' })
      expect(await act(["UPDATE account SET cents = cents + 100 WHERE id = 'a'"], two)).toMatchObject({ status: 'ok' })
      await ask('confirm', two)
      expect((await rows('account'))[0]).toBe('(a,101,a@x)')
    })

    test('has the row when that is decided while it waits', async () => {
      const { act, ask, bind, rows } = world()
      await act(["UPDATE account SET cents = cents + 10 WHERE id = 'a'"], { id: 'one' })
      let tries = 0
      const again = Promise.withResolvers<void>()
      const binding = bind(
        async (tx) => {
          if (++tries === 2) again.resolve()
          await tx.query("UPDATE account SET cents = cents + 100 WHERE id = 'a'")
        },
        { lockTimeoutMs: 20_000, concurrency: 2 },
      )
      const second = ask('invoke', { id: 'two' }, binding)
      await again.promise
      await ask('confirm', { id: 'one' })
      expect(await second).toMatchObject({ status: 'ok' })
      await ask('confirm', { id: 'two' })
      expect((await rows('account'))[0]).toBe('(a,111,a@x)')
    })
  })

  describe('steps of one saga', () => {
    const add = "UPDATE account SET cents = cents + 10 WHERE id = 'a'"
    const [first, second] = [{ step: 'first' }, { step: 'second' }]

    test('steps that ran at the same time are undone the last one first, whichever is cancelled first', async () => {
      const { act, ask, rows, kept } = world()
      const [third, aside] = [{ step: 'third' }, { step: 'aside' }]
      const before = await rows('account')
      await act([add], first)
      await act([add, "DELETE FROM account WHERE id = 'b'"], second)
      await act(["INSERT INTO account VALUES ('b', 9)"], third)
      await act(["UPDATE account SET cents = 0 WHERE id = 'c'"], aside)
      expect(await ask('compensate', first)).toMatchObject({ status: 'ok' })
      expect(await rows('account')).toEqual([...before.slice(0, 2), '(c,0,c@x)'])
      expect((await kept())[0]).toBe(1)
      expect(await ask('confirm', third)).toMatchObject({ status: 'failed', code: 'saga.not_reserved' })
      for (const of of [second, third, aside]) expect(await ask('compensate', of)).toMatchObject({ status: 'ok' })
      expect([await rows('account'), await kept()]).toEqual([before, [0, 0, 0]])
    })

    test('change the same row, and are undone one by one', async () => {
      const { act, ask, rows, kept } = world()
      await act([add], first)
      await act([add], second)
      await ask('compensate', second)
      expect((await rows('account'))[0]).toBe('(a,11,a@x)')
      await expect(write("DELETE FROM account WHERE id = 'a'")).rejects.toMatchObject(HELD)
      expect(await ask('compensate', first)).toMatchObject({ status: 'ok' })
      expect([(await rows('account'))[0], await kept()]).toEqual(['(a,1,a@x)', [0, 0, 0]])
    })

    const rowsTied = [
      ['a foreign key', 'REFERENCES parent'],
      ['a cascade', 'REFERENCES parent ON DELETE CASCADE'],
    ] as const
    test.each(rowsTied)('are undone the last one first where %s ties their rows', async (_, tie) => {
      const { act, ask, kept, rows, schema, sql } = world()
      await makeTables(sql, [
        'CREATE TABLE parent (id int PRIMARY KEY)',
        `CREATE TABLE child (id int PRIMARY KEY, parent int ${tie})`,
        'INSERT INTO parent VALUES (1)',
        'INSERT INTO child VALUES (1, 1)',
      ])
      await undo.protect(sql, ['parent', 'child'], { schema })
      await act(['INSERT INTO parent VALUES (2)'], first)
      await act(['INSERT INTO child VALUES (2, 2)', 'UPDATE child SET parent = 2 WHERE id = 1'], second)
      for (const of of [first, second]) expect(await ask('compensate', of)).toMatchObject({ status: 'ok' })
      expect([await rows('parent'), await rows('child'), await kept()]).toEqual([['(1)'], ['(1,1)'], [0, 0, 0]])
    })

    test('are undone the last one first where they wrote to tied tables at the same time', async () => {
      const { act, ask, kept, rows, schema, sql } = world()
      await makeTables(sql, [
        'CREATE TABLE parent (id int PRIMARY KEY)',
        'CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)',
      ])
      await undo.protect(sql, ['parent', 'child'], { schema })
      for (const [n, of] of [first, second].entries())
        await act([`INSERT INTO parent VALUES (${n})`, `INSERT INTO child VALUES (${n}, ${n})`], of)
      // Orders the images as two concurrent transactions would: both parents, then both children.
      for (const { step } of [first, second])
        await write(
          `UPDATE ${schema}.saga_undo_image SET seq = DEFAULT WHERE branch LIKE '%${step}%' AND relation = 'child'::regclass`,
        )
      for (const of of [first, second]) expect(await ask('compensate', of)).toMatchObject({ status: 'ok' })
      expect([await rows('parent'), await rows('child'), await kept()]).toEqual([[], [], [0, 0, 0]])
    })

    test('are undone the last one first where one took a unique value of the other', async () => {
      const { act, ask, kept, rows } = world()
      const before = await rows('account')
      await act(["UPDATE account SET email = 'free' WHERE id = 'a'"], first)
      await act(["INSERT INTO account VALUES ('q', 9, 'a@x')"], second)
      for (const of of [first, second]) expect(await ask('compensate', of)).toMatchObject({ status: 'ok' })
      expect([await rows('account'), await kept()]).toEqual([before, [0, 0, 0]])
    })

    test('are confirmed in any order, and hold the row until the last one is', async () => {
      const { act, ask, kept } = world()
      await act([add], first)
      await act([add], second)
      await ask('confirm', first)
      await expect(write("DELETE FROM account WHERE id = 'a'")).rejects.toMatchObject(HELD)
      await ask('confirm', second)
      expect(await kept()).toEqual([0, 0, 0])
      await write("DELETE FROM account WHERE id = 'a'")
    })
  })

  describe('undo.lockRows', () => {
    test('reads committed rows, and refuses those that another saga holds', async () => {
      const { act, bind, ask, sql, schema } = world()
      await act(["UPDATE account SET cents = 5 WHERE id = 'a'", "DELETE FROM account WHERE id = 'b'"])
      const read = (...keys: string[]) => sql.transaction((tx) => undo.lockRows(tx, 'account', keys, { schema }))
      expect(await read('c', 'missing')).toEqual([{ id: 'c', cents: 3, email: 'c@x' }])
      for (const key of ['a', 'b']) await expect(read('c', key)).rejects.toMatchObject(HELD)
      let seen: unknown
      const own = bind(async (tx) => void (seen = await undo.lockRows(tx, 'account', ['a', { id: 'b' }], { schema })))
      expect(await ask('invoke', { step: 'second' }, own)).toMatchObject({ status: 'ok' })
      expect(seen).toEqual([{ id: 'a', cents: 5, email: 'a@x' }])
      await expect(read(JSON.parse('{"x":1}'))).rejects.toMatchObject({ code: 'saga.undo_table' })
    })
  })
}
