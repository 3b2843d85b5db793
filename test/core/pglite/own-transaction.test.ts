import { setTimeout as pause } from 'node:timers/promises'
import { type SqlResult, type SqlTransaction } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freshPglite } from '../../support/pglite.ts'

const OWN = { code: 'core.sql_own_transaction', retryable: false }

describe('a statement made inside a transaction of its own database, outside of `tx`', { timeout: 10_000 }, () => {
  const database = freshPglite()
  const sql = pgliteClient(database)
  const other = freshPglite()
  beforeAll(async () => {
    await Promise.all([database.waitReady, other.waitReady])
    await sql.query('CREATE TABLE t (n int)')
  }, 120_000)
  afterAll(() => Promise.all([database.close(), other.close()]))

  test('is refused at once, and the transaction continues', async () => {
    await sql.transaction(async (tx) => {
      await expect(sql.query('INSERT INTO t VALUES (1)')).rejects.toThrow(
        expect.objectContaining({ code: 'core.sql_own_transaction' }),
      )
      await expect(sql.transaction((other) => other.query('INSERT INTO t VALUES (2)'))).rejects.toMatchObject(OWN)
      await tx.query('INSERT INTO t VALUES (3)')
    })
    expect((await sql.query('SELECT n FROM t')).rows).toEqual([{ n: 3 }])
  })

  test('is refused through another client of the database, and after awaiting', async () => {
    await sql.transaction(async (tx) => {
      await tx.query('SELECT 1')
      await pause(1)
      await expect(pgliteClient(database).query('SELECT 1')).rejects.toMatchObject(OWN)
    })
  })

  test('is refused within the transaction of another database inside it', async () => {
    await sql.transaction(async () => {
      await pgliteClient(other).transaction(async (tx) => {
        await expect(sql.query('SELECT 1')).rejects.toMatchObject(OWN)
        await tx.query('SELECT 1')
      })
      await pgliteClient(other).query('SELECT 1')
    })
  })

  test('is refused where the transaction was lent to code that began elsewhere', async () => {
    let lent: ((work: () => Promise<unknown>) => Promise<unknown>) | undefined
    const given = Promise.withResolvers<void>()
    const done = Promise.withResolvers<void>()
    const open = sql.transaction(async (tx: SqlTransaction) => {
      lent = (work) => (tx.within as <T>(inner: () => T) => T)(work)
      given.resolve()
      await done.promise
    })
    await given.promise
    await expect(lent?.(() => sql.query('SELECT 1'))).rejects.toMatchObject(OWN)
    done.resolve()
    await open
  })

  test('runs when the transaction has ended: from a timer, an unawaited call, a listener of the commit', async () => {
    let timed: Promise<SqlResult<{ n: number }>> | undefined
    const after: Array<Promise<unknown>> = []
    await sql.transaction(async (tx) => {
      timed = pause(100).then(() => sql.query<{ n: number }>('SELECT 5 AS n'))
      tx.afterCommit?.(() => void after.push(sql.query('SELECT 1')))
      await tx.query('SELECT 1')
    })
    expect((await timed)?.rows).toEqual([{ n: 5 }])
    expect(after).toHaveLength(1)
    await after[0]
    const failed = sql.transaction(async () => {
      timed = pause(100).then(() => sql.query<{ n: number }>('SELECT 6 AS n'))
      throw new Error('rolled back')
    })
    await expect(failed).rejects.toThrow('rolled back')
    expect((await timed)?.rows).toEqual([{ n: 6 }])
  })

  test('is refused with the remedy, and without the statement', async () => {
    const refused = await sql
      .transaction(() => sql.query('SELECT $1::text', ['hunter2']))
      .then(() => undefined)
      .catch((error: unknown) => error)
    expect(refused).toHaveProperty('message', expect.stringMatching(/use the `tx`.*pass `\{ tx \}`/))
    expect(String(refused)).not.toContain('hunter2')
    expect(String(refused)).not.toContain('SELECT')
  })

  test('outside of every transaction it waits for its turn', async () => {
    const begun = Promise.withResolvers<void>()
    const may = Promise.withResolvers<void>()
    const open = sql.transaction(async (tx) => {
      begun.resolve()
      await may.promise
      await tx.query('INSERT INTO t VALUES (7)')
    })
    await begun.promise
    const outside = sql.query('SELECT n FROM t WHERE n = 7')
    may.resolve()
    await open
    expect((await outside).rowCount).toBe(1)
  })
})
