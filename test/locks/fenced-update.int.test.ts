import { randomUUID } from 'node:crypto'
import { pgClient } from 'concordat/core/pg'
import { createFence, fencedUpdate } from 'concordat/locks'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { gate, until } from '../support/until.ts'

describeWith(['postgres'], 'a guard column in PostgreSQL', () => {
  const schema = `fenced_${randomUUID().slice(0, 8)}`
  let pool: pg.Pool
  let sql: ReturnType<typeof pgClient>
  const write = (where: string, left: number, token: number): Promise<number> =>
    fencedUpdate(sql, { table: `${schema}.stock`, set: 'n = $1', where, values: [left], token })
  const rowOf = async (sku: string): Promise<unknown> =>
    (await pool.query(`SELECT n, fence FROM ${schema}.stock WHERE sku = $1`, [sku])).rows[0]

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres') })
    sql = pgClient(pool)
    await pool.query(`CREATE SCHEMA ${schema}`)
    await pool.query(`CREATE TABLE ${schema}.stock (sku text PRIMARY KEY, n int, fence bigint)`)
    await pool.query(`INSERT INTO ${schema}.stock SELECT sku, 9 FROM unnest('{a,b,c,d,e}'::text[]) AS sku`)
  })
  afterAll(async () => {
    await pool.query(`DROP SCHEMA ${schema} CASCADE`)
    await pool.end()
  })

  it('lets rising and equal tokens write, and refuses an older one', async () => {
    expect(await write(`sku = 'a'`, 8, 20)).toBe(1)
    expect(await write(`sku = 'a'`, 7, 20)).toBe(1)
    await expect(write(`sku = 'a'`, 1, 19)).rejects.toMatchObject({
      code: 'locks.fence_rejected',
      resource: `${schema}.stock`,
      token: 19,
      lastToken: 20,
    })
    expect(await rowOf('a')).toEqual({ n: 7, fence: '20' })
  })

  it('distinguishes a missing row from a refused write', async () => {
    expect(await write(`sku = 'none'`, 8, 20)).toBe(0)
  })

  it('writes all rows that it finds, or none', async () => {
    expect(await write(`sku IN ('b', 'c')`, 5, 10)).toBe(2)
    await write(`sku = 'c'`, 4, 12)
    await expect(write(`sku IN ('b', 'c')`, 3, 11)).rejects.toMatchObject({ lastToken: 12 })
    expect(await rowOf('b')).toEqual({ n: 5, fence: '10' })
  })

  it('refuses the older of two writers that meet in the row, although it read the row before', async () => {
    const [written, waits] = [gate(), gate()]
    const younger = sql.transaction(async (tx) => {
      await fencedUpdate(tx, { table: `${schema}.stock`, set: 'n = 1', where: `sku = 'd'`, token: 7 })
      written.open()
      await waits.opened
    })
    await written.opened
    const older = write(`sku = 'd'`, 6, 6).catch((error: unknown) => error)
    await until('the older waits for the row', async () => {
      const waiting = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%${schema}%guarded%'`
      return (await pool.query(waiting)).rowCount === 1
    })
    waits.open()
    await younger
    expect(await older).toMatchObject({ code: 'locks.fence_rejected', token: 6, lastToken: 7 })
    expect(await rowOf('d')).toEqual({ n: 1, fence: '7' })
  })

  it('lets the younger of two writers that meet in the row write after the older', async () => {
    const writers = Array.from({ length: 30 }, (_, n) => write(`sku = 'e'`, n, n).catch((error: unknown) => error))
    await Promise.all(writers)
    expect(await rowOf('e')).toEqual({ n: 29, fence: '29' })
  })

  it('is raised beside the guard table by an operator, never lowered', async () => {
    const fence = createFence({ sql, schema })
    await fence.migrate()
    expect(await fence.raise('ledger', 50)).toBe(50)
    expect(await fence.raise('ledger', 40)).toBe(50)
    await expect(sql.transaction((tx) => fence.check(tx, 'ledger', 49))).rejects.toMatchObject({ lastToken: 50 })
    await sql.transaction((tx) => fence.check(tx, 'ledger', 50))
  })

  it.each([
    [`n = 10 -- the new value`, `sku = 'f'`],
    [`n = 10`, `sku = 'f' -- the row`],
    [`n = 10 /* the new value */`, `sku = 'f' /* the row */`],
  ])('guards an update that ends in a comment: %s, %s', async (set, where) => {
    await pool.query(`DELETE FROM ${schema}.stock WHERE sku = 'f'`)
    await pool.query(`INSERT INTO ${schema}.stock VALUES ('f', 9)`)
    const update = { table: `${schema}.stock`, set, where }
    expect(await fencedUpdate(sql, { ...update, token: 9 })).toBe(1)
    expect(await rowOf('f')).toEqual({ n: 10, fence: '9' })
    await expect(fencedUpdate(sql, { ...update, token: 3 })).rejects.toMatchObject({ lastToken: 9 })
  })

  it('names the mistake', async () => {
    const good = { table: 'stock', set: 'n = 1', where: 'true', token: 1 }
    await expect(fencedUpdate(sql, { ...good, token: 1.5 })).rejects.toThrow('fencedUpdate.token')
    await expect(fencedUpdate(sql, { ...good, where: '' })).rejects.toThrow('fencedUpdate.where')
    await expect(fencedUpdate(sql, { ...good, colum: 'fence' } as never)).rejects.toThrow('Did you mean "column"?')
  })
})
