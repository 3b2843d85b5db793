/**
 * Ordinary schemas and operators' changes to them: each case is undone exactly, or refused with a remedy when the table
 * is protected or at the first step that writes, and never at the first compensation.
 */
import type { SqlTransaction } from 'concordat/core'
import { undo } from 'concordat/saga/undo'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ACCOUNT, AUDITED, CHANGES, CIRCLE, REFUSED_STEPS, setting, WORKS, type Works } from './undo-ordinary-cases.ts'
import { makeTables } from './undo-suite.ts'
import type { UndoWorld } from './undo-world.ts'

export function undoOrdinarySuite(world: () => UndoWorld): void {
  const target = { saga: 'order', id: 's', step: 'reserve' }
  const protect = (...tables: Works['protect']) => undo.protect(world().sql, tables, { schema: world().schema })
  const problems = async () =>
    (await undo.protected(world().sql, { schema: world().schema })).map(({ table, problem }) => [table, problem])
  const has = (problem: string) => [['public.account', expect.stringContaining(problem)]]

  describe.each(WORKS)('$name', ({ tables, protect: of, alsoWrites = [], work, differs = [] }) => {
    test('is undone, and leaves nothing', async () => {
      const { ask, bind, kept, rows, sql } = world()
      const names = (await makeTables(sql, tables)).filter((name) => !differs.includes(name))
      await protect(...of)
      const before = await Promise.all(names.map(rows))
      const binding = bind((tx) => run(tx, work), { alsoWrites })
      expect(await ask('invoke', {}, binding)).toMatchObject({ status: 'ok' })
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect(await Promise.all(names.map(rows))).toEqual(before)
      expect(await kept()).toEqual([0, 0, 0])
      expect((await problems()).filter(([, problem]) => problem !== undefined)).toEqual([])
    })
  })

  test('an audit table in alsoWrites has a line of the change and a line of its undoing', async () => {
    const { ask, bind, rows, sql } = world()
    await makeTables(sql, AUDITED)
    await protect('account')
    const binding = bind((tx) => run(tx, ['UPDATE account SET cents = 5 WHERE id = 1']), { alsoWrites: ['audit'] })
    await ask('invoke', {}, binding)
    await ask('compensate')
    expect(await rows('audit')).toEqual(['(1,1,1,5)', '(2,1,5,1)'])
  })

  test.each(['keep', 'restore'] as const)('an operator settles a step with an audit table: %s', async (choice) => {
    const { act, kept, rows, schema, sql } = world()
    await makeTables(sql, AUDITED)
    await protect('account', 'audit')
    await act(CHANGES)
    await undo.settle(sql, target, choice, { schema })
    expect([await rows('account'), await rows('audit'), await kept()]).toEqual([['(1,1)', '(2,2)'], [], [0, 0, 0]])
  })

  test('an operator restores the rows of a circle that a writer past the triggers deleted', async () => {
    const { act, rows, schema, sql } = world()
    await makeTables(sql, [...CIRCLE, 'ALTER TABLE circle ADD FOREIGN KEY (up) REFERENCES circle'])
    await protect('circle')
    const before = await rows('circle')
    await act(['UPDATE circle SET note = $$c$$'])
    await sql.transaction((tx) =>
      run(tx, [`SELECT set_config('concordat.undo', '{"by": "operator"}', true)`, 'DELETE FROM circle']),
    )
    await undo.settle(sql, target, 'restore', { schema })
    expect(await rows('circle')).toEqual(before)
  })

  test('objects that an undone step would take along are named with the remedy', async () => {
    const { act, ask, schema, sql } = world()
    await makeTables(sql, [
      'CREATE TABLE parent (id int PRIMARY KEY)',
      'CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE)',
    ])
    await undo.protect(sql, ['parent', 'child'], { schema })
    await act(['INSERT INTO parent VALUES (1)'])
    await sql.query('INSERT INTO child VALUES (1, 1)')
    expect(await ask('compensate')).toMatchObject({
      code: 'CC011',
      message: expect.stringContaining(
        'Take that row away or make the foreign key NO ACTION, or name the table in alsoWrites',
      ),
    })
  })

  describe.each(REFUSED_STEPS)('a step that $name', ({ tables, work, message }) => {
    test('fails at once, and leaves no effect', async () => {
      const { act, kept, sql } = world()
      await makeTables(sql, [...ACCOUNT, ...tables])
      await protect('account')
      expect(await act(work)).toMatchObject({
        status: 'failed',
        code: 'saga.undo_not_protected',
        message: expect.stringContaining(message),
      })
      expect(await kept()).toEqual([0, 0, 0])
    })
  })

  test('a step may empty a table in alsoWrites', async () => {
    const { ask, bind, sql } = world()
    await makeTables(sql, [...ACCOUNT, 'CREATE TABLE other (id int)', 'INSERT INTO other VALUES (1)'])
    const binding = bind((tx) => run(tx, ['TRUNCATE other']), { alsoWrites: ['other'] })
    expect(await ask('invoke', {}, binding)).toMatchObject({ status: 'ok' })
  })

  test('a table is emptied by no writer while it is protected', async () => {
    const { sql } = world()
    await makeTables(sql, ACCOUNT)
    await protect('account')
    await expect(sql.query('TRUNCATE account')).rejects.toMatchObject({ code: '0A000' })
  })

  test.each([
    ['now()', 'touched_at := ', 'touched_at'],
    ['CURRENT_TIMESTAMP', 'touched_at = ', 'touched_at'],
    ['OLD.version + 1', 'version := ', 'version'],
  ])(
    'a trigger that sets a column to %s at each update is refused, with the column to ignore',
    async (value, as, column) => {
      const { schema, sql } = world()
      await makeTables(sql, setting(value, as))
      await expect(protect('account')).rejects.toMatchObject({
        code: 'saga.undo_table',
        message: expect.stringContaining(
          `has the trigger "touch" that sets "${column}" anew at each update, so what is put back would differ: ` +
            `call undo.protect(sql, [{ table: "public.account", ignored: ["${column}"] }])`,
        ),
      })
      expect(await undo.protected(sql, { schema })).toEqual([])
    },
  )

  test('a trigger that is added later and sets a column at each update is listed', async () => {
    const { sql } = world()
    const [table, rows, ...trigger] = setting('clock_timestamp()')
    await makeTables(sql, [table ?? '', rows ?? ''])
    await protect('account')
    for (const text of trigger) await sql.query(text)
    expect(await problems()).toEqual(has('ignored: ["touched_at"]'))
  })

  describe('functions of another table, as after a restored dump', () => {
    test('are listed, refuse each step, and are replaced by protecting the table again', async () => {
      const { act, ask, rows, schema, sql } = world()
      await makeTables(sql, [...ACCOUNT, 'CREATE TABLE other (key text PRIMARY KEY)'])
      await protect('account', 'other')
      const { rows: made } = await sql.query<{ call: string }>(
        "SELECT tgfoid::regprocedure::text AS call FROM pg_trigger WHERE tgrelid = 'other'::regclass AND tgname = '_concordat_undo'",
      )
      await sql.query('DROP TRIGGER _concordat_undo ON account')
      await sql.query(
        `CREATE TRIGGER _concordat_undo AFTER INSERT OR UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION ${made[0]?.call}`,
      )
      expect(await problems()).toEqual([
        ['public.account', expect.stringContaining('call functions of another table')],
        ['public.other', undefined],
      ])
      await protect('other')
      expect(await act(['UPDATE account SET cents = 5 WHERE id = 1'], { id: 'wrong' })).toMatchObject({
        status: 'failed',
      })
      await protect('account')
      expect(await problems()).toEqual([
        ['public.account', undefined],
        ['public.other', undefined],
      ])
      for (const [text, id] of [
        ['UPDATE account SET cents = 5 WHERE id = 1', 'one'],
        ["INSERT INTO other VALUES ('k')", 'two'],
      ] as const) {
        expect(await act([text], { id })).toMatchObject({ status: 'ok' })
        expect(await ask('compensate', { id })).toMatchObject({ status: 'ok' })
      }
      expect([await rows('account'), await rows('other')]).toEqual([['(1,1)', '(2,2)'], []])
      await undo.unprotect(sql, ['account', 'other'], { schema })
      expect(await functionsOf(world())).toEqual([])
    })
  })

  describe('a table with another name than when it was protected', () => {
    const SWAP = [
      'CREATE TABLE account_new (LIKE account INCLUDING ALL)',
      'INSERT INTO account_new SELECT * FROM account',
      'ALTER TABLE account RENAME TO account_old',
      'ALTER TABLE account_new RENAME TO account',
    ]
    const MOVE = ['CREATE SCHEMA IF NOT EXISTS "Odd ""one"""', 'ALTER TABLE account SET SCHEMA "Odd ""one"""']

    test.each([
      ['swapped by renaming', SWAP, 'public.account_old'],
      ['moved to another schema', MOVE, '"Odd ""one""".account'],
      ['renamed', ['ALTER TABLE account RENAME TO customer'], 'public.customer'],
    ])('is %s: the step is not undone, and the table is listed', async (_, statements, name) => {
      const { act, ask, rows, schema, sql } = world()
      await makeTables(sql, ACCOUNT)
      await protect('account')
      await act(['UPDATE account SET cents = 5 WHERE id = 1'])
      for (const text of statements) await sql.query(text)
      expect(await ask('compensate')).toMatchObject({
        status: 'failed',
        final: true,
        code: 'saga.undo_conflict',
        message: expect.stringContaining(`expected table public.account, found it is ${name} now`),
      })
      expect(await problems()).toEqual([[name, expect.stringContaining('was public.account when it was protected')]])
      await expect(undo.settle(sql, target, 'restore', { schema })).rejects.toMatchObject({
        code: 'saga.undo_conflict',
      })
      expect(await rows(name)).toEqual(['(1,5)', '(2,2)'])
      expect(await act([`UPDATE ${name} SET cents = 7 WHERE id = 2`], { id: 'later' })).toMatchObject({
        code: 'saga.undo_not_protected',
      })
    })

    test('is undone once it is protected by its new name', async () => {
      const { act, ask, kept, rows, sql } = world()
      await makeTables(sql, ACCOUNT)
      await protect('account')
      await act(['UPDATE account SET cents = 5 WHERE id = 1'])
      await sql.query('ALTER TABLE account RENAME TO customer')
      expect(await ask('compensate')).toMatchObject({ status: 'failed' })
      await protect('customer')
      expect(await problems()).toEqual([['public.customer', undefined]])
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect([await rows('customer'), await kept()]).toEqual([
        ['(1,1)', '(2,2)'],
        [0, 0, 0],
      ])
    })

    test('a renamed table with another one in its place is settled with "keep", and repaired manually', async () => {
      const { act, ask, kept, rows, schema, sql } = world()
      await makeTables(sql, ACCOUNT)
      await protect('account')
      await act(['UPDATE account SET cents = 5 WHERE id = 1'])
      for (const text of SWAP) await sql.query(text)
      await protect('account')
      expect((await problems()).map(([table, problem]) => [table, problem !== undefined])).toEqual([
        ['public.account', false],
        ['public.account_old', true],
      ])
      await sql.query('UPDATE account SET cents = 1 WHERE id = 1')
      await undo.settle(sql, target, 'keep', { schema })
      expect(await ask('compensate')).toMatchObject({ status: 'ok' })
      expect([await rows('account'), await rows('account_old'), await kept()]).toEqual([
        ['(1,1)', '(2,2)'],
        ['(1,5)', '(2,2)'],
        [0, 0, 0],
      ])
      await undo.unprotect(sql, ['account_old'], { schema })
      expect(await problems()).toEqual([['public.account', undefined]])
    })
  })

  describe('row-level security', () => {
    const role = `undo_tenant_${process.pid}`
    const RULED = 'ALTER TABLE account ENABLE ROW LEVEL SECURITY'
    const POLICY = `CREATE POLICY tenant ON account TO ${role} USING (id = current_setting('app.tenant', true)::int)`

    beforeAll(async () => {
      const { schema, sql } = world()
      for (const text of [
        `CREATE ROLE ${role} LOGIN`,
        `GRANT USAGE ON SCHEMA ${schema} TO ${role}`,
        `GRANT ALL ON ALL TABLES IN SCHEMA ${schema} TO ${role}`,
      ])
        await sql.query(text)
    })
    afterAll(async () => {
      await world().sql.query(`DROP OWNED BY ${role}`)
      await world().sql.query(`DROP ROLE ${role}`)
    })

    const tables = (...more: readonly string[]): Promise<unknown> =>
      makeTables(world().sql, [
        ...ACCOUNT,
        `GRANT USAGE ON SCHEMA public TO ${role}`,
        `GRANT ALL ON account TO ${role}`,
        ...more,
      ])

    test('row-level security that applies to the role of a participant is refused, with a remedy', async () => {
      await tables(RULED, POLICY)
      await expect(protect('account')).rejects.toMatchObject({
        code: 'saga.undo_table',
        message: expect.stringMatching(
          new RegExp(`has row-level security that applies to ${role}, .* give the participant a role with BYPASSRLS`),
        ),
      })
      expect(await problems()).toEqual([])
    })

    test('row-level security that is enabled later is listed, and fails the step that writes rather than its cancellation', async () => {
      const { act, kept } = world()
      await tables()
      await protect('account')
      for (const text of [RULED, POLICY]) await world().sql.query(text)
      expect(await problems()).toEqual(has(`row-level security that applies to ${role}`))
      const reply = await act([
        `SET LOCAL ROLE ${role}`,
        "SET LOCAL app.tenant = '1'",
        'UPDATE account SET cents = 5 WHERE id = 1',
      ])
      expect(reply).toMatchObject({
        status: 'failed',
        code: 'saga.undo_not_protected',
        message: expect.stringContaining('wrote to public.account, where row-level security applies to its role'),
      })
      expect(await kept()).toEqual([0, 0, 0])
    })

    test.each([
      ['bypasses it', `ALTER ROLE ${role} BYPASSRLS`, `ALTER ROLE ${role} NOBYPASSRLS`],
      ['has a policy for everything', `CREATE POLICY undo ON account FOR ALL TO ${role} USING (true)`, 'SELECT 1'],
      [
        'may not write for participants',
        `REVOKE INSERT ON {schema}.saga_undo FROM ${role}`,
        `GRANT INSERT ON {schema}.saga_undo TO ${role}`,
      ],
    ])('is no stall where the role %s', async (_, before, after) => {
      const { schema, sql } = world()
      await tables(RULED, POLICY, before.replace('{schema}', schema))
      try {
        await protect('account')
        expect(await problems()).toEqual([['public.account', undefined]])
      } finally {
        await sql.query(after.replace('{schema}', schema))
      }
    })
  })
}

async function run(tx: SqlTransaction, work: readonly string[]): Promise<void> {
  for (const text of work) await tx.query(text)
}

/** Functions of single tables. */
async function functionsOf({ schema, sql }: UndoWorld): Promise<readonly string[]> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT proname AS name FROM pg_proc WHERE pronamespace = '${schema}'::regnamespace AND proname ~ '^saga_undo_(row|texts)_'`,
  )
  return rows.map(({ name }) => name)
}
