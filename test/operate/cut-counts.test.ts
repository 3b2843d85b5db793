/** Counts of groups in the log that stop early are shown as such. */
import { createOperator, type Operator } from '@concordat/cli'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, test } from 'vitest'
import { database, groupsOf, lagOf, place, withLog } from './support/log-groups.ts'

describe('messages that no reader has seen', () => {
  const more = (n: number, table = 'log (segment, part, meta) SELECT 0') =>
    `INSERT INTO concordat.transport_${table}, id, '{}' FROM concordat.transport_partition, generate_series(1, ${n})
     WHERE destination = 'orders.placed'`

  test('count with delayed ones that are due, for all groups as for one', async () => {
    const sql = await withLog()
    await sql.query(more(2))
    await sql.query(more(1, 'delayed (due, part, meta) SELECT now()'))
    await sql.query(more(1, `delayed (due, part, meta) SELECT now() + interval '1 hour'`))
    const operator = createOperator({ sql })
    expect(await operator.groups()).toMatchObject([{ group: 'stock', lag: 3, isCut: false }])
    expect(await operator.letters.lag(place)).toBe(3)
  })

  test('are at least 100 000 where counting stopped, and are shown so', async () => {
    const sql = await withLog()
    await sql.query(more(100_001))
    const operator = createOperator({ sql })
    expect(await lagOf(operator)).toMatchObject({
      text: expect.stringMatching(/orders\.placed +stock +100000\+ +0 +0/u),
      json: { groups: [{ lag: 100_000, isCut: true }] },
    })
    const { lines } = await operator.doctor()
    expect(lines.map(({ text }) => text)).toContain('orders.placed.stock is 100000+ behind, and no instance reads it')
  })
})

describe('a log with more than 1 000 groups', () => {
  const missing = 'the log in the database has more than 1000 groups: those made after the first 1001 were not counted'

  /** An operator over a log whose last group has seven messages and no reader. */
  async function withGroups(count: number): Promise<Operator> {
    const sql = await database()
    await postgresTransport({ sql }).migrate()
    await sql.query(`INSERT INTO concordat.transport_partition (destination, n) VALUES ('orders', 0)`)
    await sql.query(`INSERT INTO concordat.transport_tick VALUES (1, 0, 12, '1:1:', '{}', '{}', '{}')`)
    await sql.query(
      `INSERT INTO concordat.transport_group (destination, name) SELECT 'orders', 'g' || n FROM generate_series(1, $1::int) n`,
      [count],
    )
    await sql.query(
      `INSERT INTO concordat.transport_progress
       SELECT id, 1, 1, 1, NULL, CASE id WHEN $1::int THEN 5 ELSE 12 END, 12, '{}' FROM concordat.transport_group`,
      [count],
    )
    return createOperator({ sql })
  }

  test('is a line of doctor that says which groups are not counted', async () => {
    const unknown = `unknown ${missing}`
    const behind = 'warn orders.g1001 is 7 behind, and no instance reads it'
    expect((await groupsOf(await withGroups(1_001))).said).toEqual([behind, unknown])
    expect((await groupsOf(await withGroups(1_002))).said).toEqual(['ok 1001 groups, none is behind', unknown])
  })

  test('has dead letters that lag shows as unknown, with exit code 1', async () => {
    const operator = await withGroups(1_001)
    expect(await lagOf(operator)).toMatchObject({
      code: 1,
      text: expect.stringContaining(missing),
      json: {
        problem: missing,
        groups: expect.arrayContaining([
          expect.objectContaining({ group: 'g1001', lag: 7, readers: 0, letters: null }),
        ]),
      },
    })
  })

  test('is whole for lag with 1 000 groups', async () => {
    const operator = await withGroups(1_000)
    expect(await lagOf(operator)).toMatchObject({
      code: 0,
      json: { groups: expect.arrayContaining([expect.objectContaining({ group: 'g1000', lag: 7, letters: 0 })]) },
    })
  })
})
