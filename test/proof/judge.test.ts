import { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { type Databases, type Ending, type Judgement, judge } from './run/judge.ts'
import { missingTurn } from './run/lock-watch.ts'
import { CENTS, CUSTOMER, placed, REFUSED_BY } from './shop.ts'
import { createParticipant, createShop } from './tables.ts'

const MANY = 64
const ORDERS = `generate_series(1, ${MANY}) AS n`
const WELL = `${REFUSED_BY} = 'nobody'`

const stores: PGlite[] = []
let databases: Databases
beforeAll(async () => {
  const open = async (create: (sql: SqlClient) => Promise<void>): Promise<SqlClient> => {
    const store = await PGlite.create()
    stores.push(store)
    const sql = pgliteClient(store)
    await create(sql)
    return sql
  }
  databases = {
    shop: await open(createShop),
    payments: await open((sql) => createParticipant(sql, 'payments')),
    stock: await open((sql) => createParticipant(sql, 'stock')),
  }
}, 120_000)
afterAll(() => Promise.all(stores.map((store) => store.close())))

/** State of the databases after a run without faults. */
beforeEach(async () => {
  const { shop, payments, stock } = databases
  await shop.query('TRUNCATE sent, handled, receipt, effect, fenced, concordat.outbox')
  for (const sql of [payments, stock]) await sql.query('TRUNCATE effect')
  await shop.query(`INSERT INTO sent SELECT n, n % 2, 'direct', 1, now() FROM ${ORDERS}`)
  await shop.query(`INSERT INTO handled (n, customer, worker) SELECT n, ${CUSTOMER}, 'o' FROM ${ORDERS}`)
  await shop.query(
    `INSERT INTO receipt (n, end_as, worker) SELECT n, CASE WHEN ${WELL} THEN 'done' ELSE 'refused' END, 'r' FROM ${ORDERS}`,
  )
  await shop.query(`INSERT INTO fenced (token, worker) VALUES (1, 'clerk-1'), (2, 'clerk-2')`)
  await leave(shop, 'open', 'invoke', 'true')
  await leave(shop, 'open', 'compensate', `NOT (${WELL})`)
  await leave(shop, 'close', 'invoke', WELL)
  await leave(payments, 'pay', 'invoke', `${REFUSED_BY} <> 'payments'`)
  await leave(payments, 'pay', 'compensate', `${REFUSED_BY} = 'stock'`)
  await leave(stock, 'reserve', 'invoke', WELL)
  await take(payments, 'account', 'balance', CENTS)
  await take(stock, 'shelf', 'units', '1')
})

async function leave(sql: SqlClient, step: string, operation: string, of: string): Promise<void> {
  await sql.query(
    `INSERT INTO effect (n, step, operation, worker) SELECT n, '${step}', '${operation}', 'w' FROM ${ORDERS} WHERE ${of}`,
  )
}

async function take(sql: SqlClient, table: string, column: string, takes: string): Promise<void> {
  await sql.query(`UPDATE ${table} SET ${column} = 1000000000 - coalesce((
    SELECT sum(${takes}) FROM ${ORDERS} WHERE ${WELL} AND ${CUSTOMER} = id), 0)`)
}

const judged = (ending: Partial<Ending> = {}): Promise<Judgement> =>
  judge(databases, { orders: MANY, isUnderWay: false, missingTurns: 0, ...ending })

async function wrongs(ending?: Partial<Ending>): Promise<Readonly<Record<string, number>>> {
  const { wrong } = await judged(ending)
  return Object.fromEntries(Object.entries(wrong).filter(([, count]) => count !== 0))
}

it('the judge of the proof finds nothing wrong where each order left its effects', async () => {
  expect(await wrongs()).toEqual({})
})

it('the judge of the proof counts what each hop sent and handled', async () => {
  const { shop, payments } = databases
  const rows = `VALUES ('a', '', 'invoke', 'ok', '{}'::jsonb), ('a', '', 'compensate', 'ok', '{}'), ('b', '', 'invoke', 'cancelled', NULL)`
  await payments.query(`INSERT INTO concordat.saga_barrier (saga_key, birth, operation, status, reply) ${rows}`)
  await shop.query(
    `INSERT INTO concordat.saga_event (saga, id, kind, step) VALUES ('order', 'a', 'invoked', 'pay'), ('order', 'a', 'timed-out', 'pay'),
       ('order', 'a', 'failed', 'pay'), ('order', 'a', 'failed', 'pay'), ('order', 'a', 'invoked', 'open')`,
  )
  const { counts } = await judged()
  expect(counts).toMatchObject({ ordersHandled: MANY, commands: 2, answers: 2, receipts: MANY })
  expect([counts.sent, counts.handled]).toEqual([MANY + 4, 2 * MANY + 4])
  await payments.query('TRUNCATE concordat.saga_barrier')
  await shop.query('TRUNCATE concordat.saga_event')
})

it('the judge of the proof names the customer of an order in SQL as the publishers do', async () => {
  const { rows } = await databases.shop.query<{ n: number; customer: string }>(
    `SELECT n, ${CUSTOMER} AS customer FROM (
       SELECT generate_series(1, 2000) AS n UNION ALL SELECT generate_series(999999000, 1000000000)) AS o`,
  )
  expect(rows.map(({ n }) => placed(n).customer)).toEqual(rows.map(({ customer }) => customer))
})

it.for([
  ['payments', 'account', 'balance'],
  ['stock', 'shelf', 'units'],
] as const)('the judge of the proof finds effects on the wrong row of %s', async ([name, table, column]) => {
  const move = (id: string, by: number) =>
    databases[name].query(`UPDATE ${table} SET ${column} = ${column} + $1 WHERE id = $2`, [by, id])
  await move(placed(1).customer, -1)
  await move(placed(2).customer, 1)
  expect(await wrongs()).toEqual({ 'unbalanced accounts': 2 })
  await databases[name].query(`DELETE FROM ${table} WHERE id = $1`, [placed(3).customer])
  expect((await wrongs())['unbalanced accounts']).toBeGreaterThan(2)
  await databases[name].query(`INSERT INTO ${table} VALUES ($1, 0)`, [placed(3).customer])
})

it('the judge of the proof calls an order without a receipt lost, and unfinished where the run was given up with it under way', async () => {
  await databases.shop.query('DELETE FROM receipt WHERE n IN (3, 4)')
  expect(await wrongs()).toEqual({ lost: 2 })
  expect(await wrongs({ isUnderWay: true })).toEqual({ 'unfinished orders': 2 })
})

it.for([
  ['nobody ever had it', 'TRUNCATE fenced'],
  ['nobody gets it again', 'SELECT 1'],
  [
    'it is only its last holder who still writes',
    `INSERT INTO fenced (token, worker) SELECT max(token), 'clerk-2' FROM fenced`,
  ],
] as const)('the judge of the proof finds a lock that is not granted again: %s', async ([, happens]) => {
  const { shop } = databases
  const waiting = missingTurn(shop, 50)
  await shop.query(happens)
  const missingTurns = await waiting
  expect(await wrongs({ missingTurns })).toEqual({ 'lock that is not granted again': 1 })
})

it('the judge of the proof waits for the lock to be granted again', async () => {
  const waiting = missingTurn(databases.shop, 60_000)
  await databases.shop.query(`INSERT INTO fenced (token, worker) VALUES (3, 'clerk-1')`)
  expect(await waiting).toBe(0)
})
