import { createOperator } from '@concordat/cli'
import type { SqlClient } from 'concordat/core'
import { afterAll, expect, test } from 'vitest'
import { closeEmbedded, embedded } from '../../saga/support/world.ts'

const sql = embedded()
afterAll(closeEmbedded)

/** Answers as a database of that encoding does; PGlite has UTF8 only. */
function withEncoding(encoding: string): SqlClient {
  return {
    ...sql,
    transaction: (work) => sql.transaction(work),
    query: async <Row extends object>(text: string, values?: readonly unknown[]) => {
      const result = await sql.query<Row>(text, values)
      if (!text.includes("current_setting('server_encoding')")) return result
      return { ...result, rows: result.rows.map((row) => ({ ...row, encoding })) }
    },
  }
}

const encodingLines = async (client: SqlClient) =>
  (await createOperator({ sql: client }).doctor()).lines.filter(({ check }) => check === 'encoding')

test('doctor warns of a database whose encoding lacks characters', async () => {
  expect(await encodingLines(withEncoding('LATIN1'))).toMatchObject([
    { status: 'warn', text: expect.stringContaining('the encoding LATIN1') },
  ])
})

test('doctor says nothing of the encoding UTF8', async () => {
  expect(await encodingLines(sql)).toEqual([])
})

const durabilityLines = async (client: SqlClient) =>
  (await createOperator({ sql: client }).doctor()).lines.filter(({ check }) => check === 'durability')

test('doctor warns of roles and databases whose commits do not wait for the disk', async () => {
  expect(await durabilityLines(sql)).toEqual([])
  await sql.query('CREATE ROLE hasty')
  await sql.query('ALTER ROLE hasty SET synchronous_commit = off')
  await sql.query('ALTER DATABASE postgres SET synchronous_commit = off')
  const text = expect.stringMatching(
    /^synchronous_commit is off for (role "hasty", database "\w+"|database "\w+", role "hasty"):/,
  )
  expect(await durabilityLines(sql)).toMatchObject([{ status: 'warn', text }])
  await sql.query('ALTER ROLE hasty RESET synchronous_commit')
  await sql.query('ALTER DATABASE postgres RESET synchronous_commit')
  await sql.query('SET synchronous_commit = off')
  expect(await durabilityLines(sql)).toMatchObject([
    { status: 'warn', text: expect.stringContaining('off for role "') },
  ])
  await sql.query('RESET synchronous_commit')
})
