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
