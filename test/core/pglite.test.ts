import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sqlConformance } from '../conformance/sql.ts'
import { freshPglite } from '../support/pglite.ts'

const database = freshPglite()
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

sqlConformance(() => pgliteClient(database))

test('pgliteClient reports that no other process can use the database, with a token of its own', () => {
  const [a, b] = [pgliteClient(database), pgliteClient(database)]
  expect(a.exclusive).toMatch(/^\S{36}$/)
  expect(a.exclusive).not.toBe(b.exclusive)
})
