import pg from 'pg'
import { expect, test } from 'vitest'
import { describeWith } from '../index.ts'
import { startPostgresPair } from './postgres.ts'

describeWith(['postgres'], 'a pair of PostgreSQL servers', { private: true }, () => {
  test('the standby has what the primary has confirmed, is promoted, and the old primary becomes its standby', async () => {
    await using pair = await startPostgresPair()
    const { primary: first } = pair
    await query(first.url, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)')
    await expect(query(pair.standby.url, 'INSERT INTO kept VALUES (2)')).rejects.toMatchObject({ code: '25006' })
    await first.kill()
    await pair.promote()
    expect(pair.primary).not.toBe(first)
    await query(pair.primary.url, 'INSERT INTO kept VALUES (3)')
    await pair.rejoin()
    expect(pair.standby).toBe(first)
    await query(pair.primary.url, 'INSERT INTO kept VALUES (4)')
    await expect
      .poll(() => query(first.url, 'SELECT array_agg(n ORDER BY n) AS all FROM kept'), { timeout: 30_000 })
      .toEqual([{ all: [1, 3, 4] }])
    await expect(query(first.url, 'INSERT INTO kept VALUES (5)')).rejects.toMatchObject({ code: '25006' })
  })
})

async function query(connectionString: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}
