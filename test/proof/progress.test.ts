import { PGlite } from '@electric-sql/pglite'
import { pgliteClient } from 'concordat/core/pglite'
import { expect, it } from 'vitest'
import { Progress } from './run/progress.ts'

it('progress counts each order with a receipt once, and continues after the completed range', async () => {
  await using database = await PGlite.create()
  const sql = pgliteClient(database)
  await sql.query('CREATE TABLE receipt (n bigint NOT NULL)')
  const add = (from: number, to: number) =>
    sql.query('INSERT INTO receipt SELECT generate_series($1::int, $2::int)', [from, to])
  const progress = new Progress(sql)
  expect(await progress.done()).toBe(0)
  await add(1, 2_500)
  await add(2_100, 2_200)
  await add(4_000, 4_004)
  expect(await progress.done()).toBe(2_505)
  expect(progress.allUpTo).toBe(2_000)
  expect(await new Progress(sql, progress.allUpTo).done()).toBe(2_505)
})
