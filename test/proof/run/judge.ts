/** Results of a run, counted by the databases: the harness keeps no list of messages. */
import type { SqlClient } from 'concordat/core'
import { CENTS, CUSTOMER, REFUSED_BY } from '../shop.ts'
import { FUNDS, PUBLISHER_SCHEMA } from '../tables.ts'

export interface Databases {
  readonly shop: SqlClient
  readonly payments: SqlClient
  readonly stock: SqlClient
}

/** Counts for the report. */
export interface Counts {
  /** Messages of all kinds: orders, commands, answers and ends. A repeated command counts once. */
  readonly sent: number
  readonly accepted: number
  readonly handled: number
  readonly ordersSent: number
  readonly ordersAccepted: number
  readonly ordersByOutbox: number
  /** Orders that were given to the broker more than once, since the first time had no confirmation. */
  readonly ordersSentAgain: number
  readonly ordersHandled: number
  readonly commands: number
  readonly answers: number
  readonly receipts: number
  readonly effects: number
  readonly completed: number
  readonly compensated: number
  /** Messages that an inbox had seen before. */
  readonly duplicates: number
  /** Commands that were repeated for lack of an answer. */
  readonly askedAgain: number
  readonly fencedWrites: number
}

/** Counts that must be 0. */
export type Faultless =
  | 'not accepted'
  | 'lost'
  | 'unfinished orders'
  | 'double effects'
  | 'missing effects'
  | 'effects that must not be'
  | 'unfinished sagas'
  | 'out of order'
  | 'unbalanced accounts'
  | 'left in an outbox'
  | 'writes of a stale lock holder'
  | 'lock that is not granted again'

export interface Judgement {
  readonly counts: Counts
  readonly wrong: Readonly<Record<Faultless, number>>
}

/** Orders that end well, in SQL. */
const ENDS_WELL = `${REFUSED_BY} = 'nobody'`

/** Facts that the tables cannot show. */
export interface Ending {
  readonly orders: number
  /** The run was given up with messages or sagas in flight: missing receipts may still come. */
  readonly isUnderWay: boolean
  /** @see missingTurn */
  readonly missingTurns: number
}

/** Effects that each order must leave. */
const SHOP_EFFECTS = [
  { step: 'open', operation: 'invoke', of: 'true' },
  { step: 'open', operation: 'compensate', of: `NOT (${ENDS_WELL})` },
  { step: 'close', operation: 'invoke', of: ENDS_WELL },
]
const PAYMENT_EFFECTS = [
  { step: 'pay', operation: 'invoke', of: `${REFUSED_BY} <> 'payments'` },
  { step: 'pay', operation: 'compensate', of: `${REFUSED_BY} = 'stock'` },
]
const STOCK_EFFECTS = [{ step: 'reserve', operation: 'invoke', of: ENDS_WELL }]

export async function judge({ shop, payments, stock }: Databases, ending: Ending): Promise<Judgement> {
  const { orders, isUnderWay, missingTurns } = ending
  const effects = await Promise.all([
    countEffects(shop, SHOP_EFFECTS, orders),
    countEffects(payments, PAYMENT_EFFECTS, orders),
    countEffects(stock, STOCK_EFFECTS, orders),
  ])
  const total = (of: 'all' | 'double' | 'missing' | 'odd'): number => effects.reduce((sum, each) => sum + each[of], 0)
  const left = await Promise.all([
    outboxLeft(shop, PUBLISHER_SCHEMA),
    outboxLeft(shop),
    outboxLeft(payments),
    outboxLeft(stock),
  ])
  const withoutEnd = await one(shop, WITHOUT_END)
  const doubled = (await one(shop, doubledIn('handled'))) + (await one(shop, doubledIn('receipt')))
  return {
    counts: { ...(await countMessages({ shop, payments, stock })), effects: total('all') },
    wrong: {
      'not accepted': orders - (await one(shop, 'SELECT count(*) FROM sent WHERE accepted_at IS NOT NULL')),
      lost: isUnderWay ? 0 : withoutEnd,
      'unfinished orders': isUnderWay ? withoutEnd : 0,
      'double effects': total('double') + doubled,
      'missing effects': total('missing'),
      'effects that must not be': total('odd') + (await one(shop, wrongReceipts(ENDS_WELL))),
      'unfinished sagas': await one(shop, UNFINISHED),
      'out of order': await one(shop, OUT_OF_ORDER),
      'unbalanced accounts':
        (await unbalanced(payments, 'account', 'balance', CENTS, orders)) +
        (await unbalanced(stock, 'shelf', 'units', '1', orders)),
      'left in an outbox': left.reduce((sum, each) => sum + each, 0),
      'writes of a stale lock holder': await one(shop, STALE_WRITES),
      'lock that is not granted again': missingTurns,
    },
  }
}

/** Accepted, and not handled; or handled, and without the receipt of its end. */
const WITHOUT_END = `SELECT count(*) FROM sent LEFT JOIN (SELECT DISTINCT n FROM handled) AS h USING (n)
  LEFT JOIN (SELECT DISTINCT n FROM receipt) AS r USING (n) WHERE accepted_at IS NOT NULL AND (h.n IS NULL OR r.n IS NULL)`
const UNFINISHED = `SELECT count(*) FROM concordat.saga WHERE status NOT IN ('completed', 'compensated')`
/** Query for orders of one customer that were handled out of order. */
const OUT_OF_ORDER = `SELECT count(*) FROM (
  SELECT n, lag(n) OVER (PARTITION BY customer ORDER BY number) AS before FROM handled) AS h WHERE n < before`
/** The number is given behind the fence, one writer at a time. */
const STALE_WRITES = `SELECT count(*) FROM (
  SELECT token, lag(token) OVER (ORDER BY number) AS before FROM fenced) AS f WHERE token < before`

const doubledIn = (table: 'handled' | 'receipt'): string =>
  `SELECT coalesce(sum(times - 1), 0) FROM (SELECT count(*) AS times FROM ${table} GROUP BY n HAVING count(*) > 1) AS d`

const wrongReceipts = (endsWell: string): string =>
  `SELECT count(*) FROM receipt WHERE end_as <> CASE WHEN ${endsWell} THEN 'done' ELSE 'refused' END`

/** Query for participants' answers, once for each command with any number of attempts. */
const ANSWERED = 'SELECT count(*) FROM concordat.saga_barrier WHERE reply IS NOT NULL'
/** Query for the answers that sagas got. */
const TOLD = `SELECT count(*) FROM (SELECT DISTINCT id, step, kind FROM concordat.saga_event
  WHERE step IN ('pay', 'reserve') AND kind IN ('invoked', 'compensated', 'refused', 'failed')) AS told`

async function countMessages({ shop, payments, stock }: Databases): Promise<Omit<Counts, 'effects'>> {
  const count = (what: string): Promise<number> => one(shop, `SELECT count(*) FROM ${what}`)
  const [ordersSent, ordersAccepted] = [await count('sent'), await count('sent WHERE accepted_at IS NOT NULL')]
  const ordersHandled = await one(shop, 'SELECT count(DISTINCT n) FROM handled')
  const commands = (await one(payments, ANSWERED)) + (await one(stock, ANSWERED))
  const answers = await one(shop, TOLD)
  const receipts = await one(shop, 'SELECT count(DISTINCT n) FROM receipt')
  // The answer to a command, and the end of a saga, leave a message in the same commit.
  const left = 2 * commands + (await count('concordat.saga WHERE ended_at IS NOT NULL'))
  return {
    sent: ordersSent + left,
    accepted: ordersAccepted + left,
    handled: ordersHandled + commands + answers + receipts,
    ordersSent,
    ordersAccepted,
    ordersByOutbox: await count(`sent WHERE path = 'outbox'`),
    ordersSentAgain: await count('sent WHERE tries > 1'),
    ordersHandled,
    commands,
    answers,
    receipts,
    completed: await count(`concordat.saga WHERE status = 'completed'`),
    compensated: await count(`concordat.saga WHERE status = 'compensated'`),
    duplicates: await count('duplicate'),
    askedAgain: await count(`concordat.saga_event WHERE kind = 'timed-out'`),
    fencedWrites: await count('fenced'),
  }
}

interface Expected {
  readonly step: string
  readonly operation: string
  /** Condition on the column `n` that selects the orders. */
  readonly of: string
}

interface EffectCounts {
  readonly all: number
  readonly double: number
  readonly missing: number
  /** Effects of orders that must not have them. */
  readonly odd: number
}

async function countEffects(sql: SqlClient, expected: readonly Expected[], orders: number): Promise<EffectCounts> {
  const expects = expected
    .map(
      ({ step, operation, of }) =>
        `SELECT n, '${step}' AS step, '${operation}' AS operation FROM generate_series(1, ${orders}) AS n WHERE ${of}`,
    )
    .join(' UNION ALL ')
  const { rows } = await sql.query<Record<keyof EffectCounts, string>>(
    `WITH there AS (SELECT n, step, operation, count(*) AS times FROM effect GROUP BY 1, 2, 3), expected AS (${expects})
     SELECT coalesce(sum(t.times), 0) AS all, coalesce(sum(t.times - 1), 0) AS double,
       count(*) FILTER (WHERE t.n IS NULL) AS missing, count(*) FILTER (WHERE e.n IS NULL) AS odd
     FROM there t FULL JOIN expected e ON e.n = t.n AND e.step = t.step AND e.operation = t.operation`,
  )
  const row = rows[0]
  if (row === undefined) throw new Error('the effects cannot be counted')
  return { all: Number(row.all), double: Number(row.double), missing: Number(row.missing), odd: Number(row.odd) }
}

/**
 * Each order that ends well takes its price, or one unit, from its own customer's row, and no other order takes anything. Row by row: what one customer
 * paid too much does not make up for what another one paid too little. @returns by how much the rows differ, all together
 */
function unbalanced(sql: SqlClient, table: string, column: string, takes: string, orders: number): Promise<number> {
  return one(
    sql,
    `WITH expected AS (SELECT ${CUSTOMER} AS id, sum(${takes}) AS takes
       FROM generate_series(1, ${orders}) AS n WHERE ${ENDS_WELL} GROUP BY 1)
     SELECT coalesce(sum(abs(coalesce(${FUNDS} - t.${column}, 0) - coalesce(e.takes, 0))), 0)
     FROM ${table} t FULL JOIN expected e USING (id)`,
  )
}

/** Number of open sagas and of messages waiting in the outboxes. */
export async function openEnds({ shop, payments, stock }: Databases): Promise<number> {
  const left = await Promise.all([
    outboxLeft(shop, PUBLISHER_SCHEMA),
    outboxLeft(shop),
    outboxLeft(payments),
    outboxLeft(stock),
  ])
  return left.reduce((sum, each) => sum + each, 0) + (await one(shop, UNFINISHED))
}

function outboxLeft(sql: SqlClient, schema = 'concordat'): Promise<number> {
  return one(sql, `SELECT count(*) FROM ${schema}.outbox`)
}

async function one(sql: SqlClient, text: string): Promise<number> {
  const { rows } = await sql.query<Record<string, string>>(text)
  return Number(Object.values(rows[0] ?? {})[0] ?? Number.NaN)
}
