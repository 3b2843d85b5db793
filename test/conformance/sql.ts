import { migrate, quoteIdentifier, type SqlClient, type SqlTransaction } from 'concordat/core'
import { describe, expect, test } from 'vitest'
import { uniqueName } from '../outbox/support/messages.ts'
import { migrationText } from '../support/inside/core.ts'

/** Behaviour common to every `SqlClient`: `core/sql.ts` as tests. */
export function sqlConformance(open: () => SqlClient): void {
  async function setup() {
    const sql = open()
    const table = uniqueName('t')
    await sql.query(`CREATE TABLE ${table} (n int PRIMARY KEY)`)
    const numbers = async (): Promise<number[]> =>
      (await sql.query<{ n: number }>(`SELECT n FROM ${table} ORDER BY n`)).rows.map((row) => row.n)
    return { sql, table, numbers, insert: `INSERT INTO ${table} VALUES ($1)` }
  }

  describe('query', () => {
    test('maps values alike', async () => {
      const { sql } = await setup()
      const { rows } = await sql.query(
        `SELECT $1::bytea AS bytes, $2::jsonb AS json, $3::text AS text, $4::int AS int, 9007199254740993::bigint::text AS big,
           count(*)::int AS count, $5::boolean AS flag, $6::text AS nothing, $7::text[] AS list, 1.5::float8 AS float`,
        [new Uint8Array([0, 1, 255]), JSON.stringify({ a: [1, null] }), 'ü"\\', 42, true, null, ['a', null, 'b,"c']],
      )
      const row = rows[0] as { bytes: Uint8Array }
      expect(row.bytes).toBeInstanceOf(Uint8Array)
      expect({ ...row, bytes: [...row.bytes] }).toEqual({
        bytes: [0, 1, 255],
        json: { a: [1, null] },
        text: 'ü"\\',
        int: 42,
        big: '9007199254740993',
        count: 1,
        flag: true,
        nothing: null,
        list: ['a', null, 'b,"c'],
        float: 1.5,
      })
    })

    test('times come back as dates', async () => {
      const { sql } = await setup()
      const { rows } = await sql.query<{ at: Date }>(`SELECT to_timestamp(1700000000.123) AS at`)
      expect(rows[0]?.at.getTime()).toBe(1_700_000_000_123)
    })

    test('counts rows: inserted, updated, deleted, returned', async () => {
      const { sql, table } = await setup()
      expect((await sql.query(`INSERT INTO ${table} VALUES (1), (2), (3)`)).rowCount).toBe(3)
      expect((await sql.query(`INSERT INTO ${table} VALUES (3) ON CONFLICT DO NOTHING`)).rowCount).toBe(0)
      expect((await sql.query(`UPDATE ${table} SET n = n WHERE n > 1`)).rowCount).toBe(2)
      expect((await sql.query(`SELECT * FROM ${table}`)).rowCount).toBe(3)
      expect((await sql.query(`DELETE FROM ${table} WHERE n = 1 RETURNING n`)).rowCount).toBe(1)
      expect((await sql.query(`SELECT * FROM ${table} WHERE n = 1`)).rowCount).toBe(0)
    })

    test('rejects with the SQLSTATE', async () => {
      const { sql, insert } = await setup()
      await sql.query(insert, [1])
      await expect(sql.query(insert, [1])).rejects.toMatchObject({ code: '23505' })
      await expect(sql.query('SELECT * FROM missing')).rejects.toMatchObject({ code: '42P01' })
    })
  })

  describe('transaction', () => {
    test('commits what resolved, and gives its value', async () => {
      const { sql, insert, numbers } = await setup()
      const value = await sql.transaction(async (tx) => {
        await tx.query(insert, [1])
        await tx.query(insert, [2])
        return 'done'
      })
      expect(value).toBe('done')
      expect(await numbers()).toEqual([1, 2])
    })

    test('rolls back what rejected, and hands the rejection on unchanged', async () => {
      const { sql, insert, numbers } = await setup()
      const reason = new Error('mine')
      const failed = sql.transaction(async (tx) => {
        await tx.query(insert, [1])
        throw reason
      })
      await expect(failed).rejects.toBe(reason)
      expect(await numbers()).toEqual([])
    })

    test('a failed statement that was caught does not pass for a commit', async () => {
      const { sql, insert, numbers } = await setup()
      const swallowing = sql.transaction(async (tx) => {
        await tx.query(insert, [1])
        await tx.query('SELECT * FROM missing').catch(() => undefined)
      })
      await expect(swallowing).rejects.toMatchObject({ code: 'core.sql_commit', retryable: false })
      expect(await numbers()).toEqual([])
    })

    test('the error of a swallowed failure has the error of its statement as its cause', async () => {
      const { sql, insert, numbers } = await setup()
      const swallowing = sql.transaction(async (tx) => {
        await tx.query('SAVEPOINT undone')
        await tx.query('SELECT 1 / 0').catch(() => tx.query('ROLLBACK TO undone'))
        await tx.query('SELECT * FROM missing').catch(() => undefined)
        await tx.query(insert, [1]).catch(() => undefined)
      })
      await expect(swallowing).rejects.toMatchObject({
        code: 'core.sql_commit',
        message: expect.stringContaining('missing') as string,
        cause: { code: '42P01' },
      })
      expect(await numbers()).toEqual([])
    })

    test('a constraint checked at the commit rejects', async () => {
      const { sql, numbers, table } = await setup()
      await sql.query(`CREATE TABLE ${table}_d (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)`)
      const failed = sql.transaction(async (tx) => {
        await tx.query(`INSERT INTO ${table}_d VALUES (1), (1)`)
        await tx.query(`INSERT INTO ${table} VALUES (1)`)
      })
      await expect(failed).rejects.toMatchObject({ code: '23505' })
      expect(await numbers()).toEqual([])
    })

    test('is READ COMMITTED', async () => {
      const { sql } = await setup()
      const { rows } = await sql.transaction((tx) =>
        tx.query(`SELECT current_setting('transaction_isolation') AS level`),
      )
      expect(rows).toEqual([{ level: 'read committed' }])
    })

    test('a query after its end rejects instead of running elsewhere', async () => {
      const { sql, insert, numbers } = await setup()
      const kept: SqlTransaction[] = []
      await sql.transaction(async (tx) => void kept.push(tx))
      await expect(sql.transaction(async (tx) => kept.push(tx) && Promise.reject(new Error('no')))).rejects.toThrow(
        'no',
      )
      for (const tx of kept) {
        await expect(tx.query(insert, [1])).rejects.toMatchObject({ code: 'core.sql_transaction_ended' })
      }
      expect(await numbers()).toEqual([])
    })

    test('stays committed when a listener for the commit throws, and notifies the others', async () => {
      const { sql, insert, numbers } = await setup()
      const warned = new Promise<Error>((resolve) => process.once('warning', resolve))
      let told = 0
      await sql.transaction(async (tx) => {
        await tx.query(insert, [1])
        tx.afterCommit?.(() => {
          throw new Error('a listener failed')
        })
        tx.afterCommit?.(() => told++)
      })
      expect(told).toBe(1)
      expect((await warned).message).toBe('a listener failed')
      expect(await numbers()).toEqual([1])
    })

    test('notifies of its commit once it is visible, and not of a rollback', async () => {
      const { sql, insert, numbers } = await setup()
      const seen: Promise<number[]>[] = []
      const listen = (tx: SqlTransaction): void => tx.afterCommit?.(() => seen.push(numbers()))
      await sql.transaction(async (tx) => {
        listen(tx)
        await tx.query(insert, [1])
        expect(seen).toHaveLength(0)
      })
      const failed = sql.transaction(async (tx) => {
        listen(tx)
        await tx.query('SELECT * FROM missing').catch(() => undefined)
      })
      await expect(failed).rejects.toThrow()
      expect(await Promise.all(seen)).toEqual([[1]])
    })

    test('transactions started together all commit', async () => {
      const { sql, insert, numbers } = await setup()
      await Promise.all([5, 3, 1, 4, 2].map((n) => sql.transaction((tx) => tx.query(insert, [n]))))
      expect(await numbers()).toEqual([1, 2, 3, 4, 5])
    })
  })

  describe('migrate', () => {
    const first = { version: 1, statements: ['CREATE TABLE {schema}.a (n int)'] }
    const second = {
      version: 2,
      statements: ['ALTER TABLE {schema}.a ADD COLUMN m int', 'CREATE TABLE {schema}.b (n int)'],
    }

    test('applies missing migrations, once', async () => {
      const sql = open()
      const schema = uniqueName('quoted "name"')
      await migrate(sql, schema, 'part', [first])
      await migrate(sql, schema, 'part', [first, second])
      await migrate(sql, schema, 'part', [first, second])
      const { rows } = await sql.query(`SELECT m FROM ${quoteIdentifier(schema)}.a`)
      expect(rows).toEqual([])
    })

    test('parts of one schema do not see each other', async () => {
      const sql = open()
      const schema = uniqueName('parts')
      await migrate(sql, schema, 'one', [first])
      await migrate(sql, schema, 'two', [{ version: 1, statements: ['CREATE TABLE {schema}.c (n int)'] }])
      expect((await sql.query(`SELECT part FROM ${schema}.concordat_migration`)).rowCount).toBe(2)
    })

    test('a statement that fails leaves nothing behind', async () => {
      const sql = open()
      const schema = uniqueName('broken')
      const broken = { version: 2, statements: ['CREATE TABLE {schema}.b (n int)', 'SELECT * FROM missing'] }
      await expect(migrate(sql, schema, 'part', [first, broken])).rejects.toMatchObject({ code: '42P01' })
      const { rowCount } = await sql.query(`SELECT 1 FROM information_schema.schemata WHERE schema_name = $1`, [schema])
      expect(rowCount).toBe(0)
    })

    test('a schema of any legal name is used unchanged', async () => {
      const sql = open()
      for (const name of ['a$$b', "a$'b", 'a$&b', 'a$`b']) {
        const schema = uniqueName(name)
        await migrate(sql, schema, 'part', [first])
        expect((await sql.query(`SELECT n FROM ${quoteIdentifier(schema)}.a`)).rows).toEqual([])
      }
    })

    test('writes nothing where no migration is missing', async () => {
      const sql = open()
      const schema = uniqueName('looks')
      await migrate(sql, schema, 'part', [first])
      const readOnly: SqlClient = {
        query: (text, parameters) =>
          /^\s*SELECT/i.test(text) ? sql.query(text, parameters) : Promise.reject(new Error(`not read only: ${text}`)),
        transaction: () => Promise.reject(new Error('a transaction')),
      }
      await migrate(readOnly, schema, 'part', [first])
    })

    test('refuses tables of a later release, and changes nothing', async () => {
      const sql = open()
      const schema = uniqueName('newer')
      await migrate(sql, schema, 'part', [first, second])
      const older = migrate(sql, schema, 'part', [first])
      await expect(older).rejects.toMatchObject({ code: 'core.sql_version', part: 'part', found: 2, known: 1 })
      await expect(older).rejects.toThrow(/version 2, this release needs 1: run the release that migrated them/)
    })

    test('accepts tables of a later release that declares this one compatible', async () => {
      const sql = open()
      const schema = uniqueName('rolling')
      const third = { version: 3, statements: ['CREATE TABLE {schema}.c (n int)'], worksWith: 2 }
      await migrate(sql, schema, 'part', [first, second, third])
      await migrate(sql, schema, 'part', [first, second])
      await expect(migrate(sql, schema, 'part', [first])).rejects.toMatchObject({ code: 'core.sql_version' })
    })

    test('the text, statement by statement, does the same', async () => {
      const sql = open()
      const schema = uniqueName('text')
      const part = { name: 'part', migrations: [first, second], call: 'migrate()' }
      const text = migrationText(schema, part)
      for (const statement of text.split(';\n').filter((piece) => piece.trim() !== '')) await sql.query(statement)
      await migrate(sql, schema, 'part', part.migrations)
      expect(
        (await sql.query(`SELECT version, works_with FROM ${schema}.concordat_migration ORDER BY version`)).rows,
      ).toEqual([
        { version: 1, works_with: 1 },
        { version: 2, works_with: 2 },
      ])
      expect(migrationText(schema, part, 1)).not.toContain('CREATE SCHEMA')
      expect(migrationText(schema, part, 1)).not.toContain('version 1')
    })

    test('several at once apply each version once', async () => {
      const sql = open()
      const schema = uniqueName('race')
      await Promise.all(Array.from({ length: 6 }, () => migrate(sql, schema, 'part', [first, second])))
      expect((await sql.query(`SELECT 1 FROM ${schema}.concordat_migration`)).rowCount).toBe(2)
    })
  })
}
