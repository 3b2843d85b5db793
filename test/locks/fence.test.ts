import type { PGlite } from '@electric-sql/pglite'
import { pgliteClient } from 'concordat/core/pglite'
import { createFence, type Fence } from 'concordat/locks'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freshPglite } from '../support/pglite.ts'

let db: PGlite
let sql: ReturnType<typeof pgliteClient>
let fence: Fence

beforeAll(async () => {
  db = freshPglite()
  sql = pgliteClient(db)
  fence = createFence({ sql, schema: 'app' })
  await fence.migrate()
  await sql.query('CREATE TABLE ledger (token bigint)')
}, 60_000)
afterAll(() => db.close())

const write = (resource: string, token: number): Promise<void> =>
  sql.transaction(async (tx) => {
    await fence.check(tx, resource, token)
    await tx.query('INSERT INTO ledger VALUES ($1::bigint)', [String(token)])
  })

it('a fence accepts rising and equal tokens and remembers the highest', async () => {
  const base = Date.now() * 1_000
  for (const token of [base, base, base + 5, base + 7]) await write('a', token)
  expect(await fence.lastToken('a')).toBe(base + 7)
})

it('a fence refuses an older token, and the write is rolled back with it', async () => {
  await write('b', 20)
  await expect(write('b', 19)).rejects.toMatchObject({
    code: 'locks.fence_rejected',
    resource: 'b',
    token: 19,
    lastToken: 20,
    retryable: true,
  })
  const { rows } = await sql.query('SELECT * FROM ledger WHERE token = 19')
  expect(rows).toHaveLength(0)
})

it('a fence forgets a token whose transaction was rolled back', async () => {
  await write('c', 10)
  const failing = sql.transaction(async (tx) => {
    await fence.check(tx, 'c', 50)
    throw new Error('business')
  })
  await expect(failing).rejects.toThrow('business')
  expect(await fence.lastToken('c')).toBe(10)
  await write('c', 11)
})

it('a fence keeps resources apart', async () => {
  await write('d', 100)
  await write('e', 1)
  expect(await fence.lastToken('e')).toBe(1)
  expect(await fence.lastToken('nobody wrote this')).toBeUndefined()
})

it('a fence migrates any number of times', async () => {
  await fence.migrate()
  await createFence({ sql, schema: 'app' }).migrate()
  expect(await fence.lastToken('d')).toBe(100)
})

it('a fence names the mistake', async () => {
  const check = (resource: string, token: number) => sql.transaction((tx) => fence.check(tx, resource, token))
  await expect(check('', 1)).rejects.toThrow('fence resource')
  await expect(check('a', 1.5)).rejects.toThrow('fence("a") token')
})

it('a fence names the call to make while its table is missing', async () => {
  const early = createFence({ sql, schema: 'nowhere' })
  const says = { code: 'core.tables_missing', retryable: false, message: expect.stringContaining('fence.migrate()') }
  await expect(early.lastToken('a')).rejects.toMatchObject(says)
  await expect(sql.transaction((tx) => early.check(tx, 'a', 1))).rejects.toMatchObject(says)
})

it.each(['a$$b', 'a$&b', 'a$`b', `a$'b`, 'a$1b', '$$'])('a fence migrates in a schema called %s', async (schema) => {
  const other = createFence({ sql, schema })
  await other.migrate()
  await sql.transaction((tx) => other.check(tx, 'r', 7))
  expect(await other.lastToken('r')).toBe(7)
})

it.each(['\ud800', 'a\ud801', '\udc00', 'a\0b', ''])(
  'a fence refuses the resource %j: in the database it could be another one',
  async (resource) => {
    await expect(write(resource, 1)).rejects.toThrow(TypeError)
    await expect(fence.lastToken(resource)).rejects.toThrow('fence resource: expected')
    await expect(fence.raise(resource, 1)).rejects.toThrow('fence resource: expected')
  },
)
