import { PGlite } from '@electric-sql/pglite'
import { pgliteClient } from 'concordat/core/pglite'
import { expect, onTestFinished, test } from 'vitest'

function compute(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

test('statements of one transaction run in the order of the calls, also after code that computed for long', async () => {
  const db = new PGlite()
  onTestFinished(() => db.close())
  const sql = pgliteClient(db)
  await sql.query('CREATE TABLE ordered (n serial, what text)')
  await sql.transaction(async (tx) => {
    const insert = async (what: string): Promise<void> =>
      void (await tx.query('INSERT INTO ordered (what) VALUES ($1)', [what]))
    await insert('first')
    compute(15)
    await Promise.all([insert('a').then(() => insert('c')), insert('b')])
  })
  const { rows } = await sql.query<{ what: string }>('SELECT what FROM ordered ORDER BY n')
  expect(rows.map(({ what }) => what)).toEqual(['first', 'a', 'b', 'c'])
})
