/**
 * The flow: an order is sent, a saga charges a payment and reserves stock in two other services, each order ends with a
 * receipt.
 *
 * | step    | where                       | undo    | refuses               |
 * |---------|-----------------------------|---------|-----------------------|
 * | open    | coordinator, transactional  | a line, and the receipt | |
 * | pay     | `payments`                  | refund  | one order in sixteen  |
 * | reserve | `stock`                     | none is ever needed: it is the last | another one in sixteen |
 * | close   | coordinator, transactional  | pivot   | |
 *
 * Every effect leaves a line in the table `effect` of its database, in its transaction. No unique key hides what is
 * there twice.
 */
import { defineChannel } from 'concordat/binder'
import type { SqlExecutor, SqlTransaction } from 'concordat/core'
import type { Outbox } from 'concordat/outbox'
import { defineSaga, Refusal } from 'concordat/saga'
import { z } from 'zod'
import { ASK_AGAIN_MS, CUSTOMERS, INSTANCES } from './settings.ts'

const Placed = z.object({ n: z.number().int(), customer: z.string(), cents: z.number().int() })
export type Placed = z.infer<typeof Placed>
const Finished = z.object({ n: z.number().int(), customer: z.string(), end: z.enum(['done', 'refused']) })
export type Finished = z.infer<typeof Finished>

const PARTITIONS = 4

export const orderPlaced = defineChannel('proof.placed', {
  payload: Placed,
  key: ({ customer }) => customer,
  partitions: PARTITIONS,
  groups: ['orders'],
})
export const orderFinished = defineChannel('proof.finished', {
  payload: Finished,
  key: ({ customer }) => customer,
  partitions: PARTITIONS,
  groups: ['receipts'],
})
export const paymentCommands = defineChannel('proof.payments', {
  payload: Placed,
  partitions: PARTITIONS,
  groups: ['payments'],
})
export const stockCommands = defineChannel('proof.stock', {
  payload: Placed,
  partitions: PARTITIONS,
  groups: ['stock'],
})

/** Participant that refuses an order. @see REFUSED_BY which says the same in SQL */
export function refusedBy(n: number): 'payments' | 'stock' | 'nobody' {
  if (n % 16 === 5) return 'payments'
  return n % 16 === 11 ? 'stock' : 'nobody'
}

/** Expression over the column `n`. */
export const REFUSED_BY = `CASE n % 16 WHEN 5 THEN 'payments' WHEN 11 THEN 'stock' ELSE 'nobody' END`

/**
 * Messages of a completed order: the order, two commands, two answers, and its end. A declined one has 4, one that is
 * out of stock 8.
 */
const MESSAGES = 6

/** Messages of the first `orders` orders. */
export function messagesOf(orders: number): number {
  const of = (rest: number): number => Math.floor((orders + 16 - rest) / 16)
  return MESSAGES * orders - 2 * of(5) + 2 * of(11)
}

/** Fewest orders that make this number of messages. */
export function ordersFor(messages: number): number {
  let orders = Math.max(1, Math.floor(messages / MESSAGES) - 1)
  while (messagesOf(orders) < messages) orders++
  return orders
}

export function centsOf(n: number): number {
  return 100 + (n % 900)
}

/** Expression over the column `n`. */
export const CENTS = `(100 + n % 900)`

/** Scatters numbers over the customers. */
const MIX = 0x9e37_79b1

/** Orders are numbered from 1. Each publisher has its own numbers and its own customers, so that one process sends for a key. */
export function placed(n: number): Placed {
  const publisher = n % INSTANCES
  const mixed = Math.imul(n, MIX) >>> 0
  const customer = (mixed % (CUSTOMERS / INSTANCES)) * INSTANCES + publisher
  return { n, customer: `c${customer}`, cents: centsOf(n) }
}

/** Expression over the column `n` for its customer. @see placed which says the same */
export const CUSTOMER = `('c' || ((n::bigint * ${MIX}) & 4294967295) % ${CUSTOMERS / INSTANCES} * ${INSTANCES} + n % ${INSTANCES})`

/** Half of the customers order through an outbox, the others at the broker. */
export function goesByOutbox({ customer }: Placed): boolean {
  return Math.floor(Number(customer.slice(1)) / INSTANCES) % 2 === 0
}

export type Operation = 'invoke' | 'compensate'

export interface Effect {
  readonly n: number
  readonly step: string
  readonly operation: Operation
  readonly worker: string
}

export async function leaveLine(tx: SqlExecutor, { n, step, operation, worker }: Effect): Promise<void> {
  await tx.query('INSERT INTO effect (n, step, operation, worker) VALUES ($1, $2, $3, $4)', [
    n,
    step,
    operation,
    worker,
  ])
}

/** An outage must not use up the attempts: nothing may get stuck. */
export const PATIENT_RETRY = { maxAttempts: 1_000_000, initialMs: 200, maxMs: 1_000 }
const ASKS = { timeoutMs: ASK_AGAIN_MS, retry: PATIENT_RETRY, compensationRetry: PATIENT_RETRY }

export function orderSaga(worker: string, outbox: Pick<Outbox, 'add'>) {
  const finish = async (tx: SqlTransaction, { n, customer }: Placed, end: Finished['end']): Promise<void> => {
    await outbox.add(tx, orderFinished, { n, customer, end }, { id: `finished-${n}` })
  }
  return defineSaga('order', { version: 1, input: Placed })
    .step('open', {
      transactional: true,
      retry: PATIENT_RETRY,
      compensationRetry: PATIENT_RETRY,
      invoke: ({ tx, input }) => leaveLine(tx, { n: input.n, step: 'open', operation: 'invoke', worker }),
      compensate: async ({ tx, input }) => {
        await leaveLine(tx, { n: input.n, step: 'open', operation: 'compensate', worker })
        await finish(tx, input, 'refused')
      },
    })
    .command('pay', { ...ASKS, to: paymentCommands, request: ({ input }) => input, compensate: true })
    .command('reserve', { ...ASKS, to: stockCommands, request: ({ input }) => input, compensate: true })
    .step('close', {
      transactional: true,
      pivot: true,
      retry: PATIENT_RETRY,
      invoke: async ({ tx, input }) => {
        await leaveLine(tx, { n: input.n, step: 'close', operation: 'invoke', worker })
        await finish(tx, input, 'done')
      },
    })
}

/** A participant's work for a command, in its transaction. */
export interface Duty {
  readonly step: string
  invoke(tx: SqlExecutor, order: Placed): Promise<void>
  /** Undoes the work if it was done. */
  compensate(tx: SqlExecutor, order: Placed): Promise<void>
}

export const pay: Duty = {
  step: 'pay',
  async invoke(tx, { n, customer, cents }) {
    if (refusedBy(n) === 'payments') throw new Refusal('payments.declined', `order ${n} is declined`)
    await tx.query('UPDATE account SET balance = balance - $2 WHERE id = $1', [customer, cents])
  },
  async compensate(tx, { customer, cents }) {
    await tx.query('UPDATE account SET balance = balance + $2 WHERE id = $1', [customer, cents])
  },
}

export const reserve: Duty = {
  step: 'reserve',
  async invoke(tx, { n, customer }) {
    if (refusedBy(n) === 'stock') throw new Refusal('stock.out', `order ${n} cannot be had`)
    await tx.query('UPDATE shelf SET units = units - 1 WHERE id = $1', [customer])
  },
  async compensate(tx, { customer }) {
    await tx.query('UPDATE shelf SET units = units + 1 WHERE id = $1', [customer])
  },
}

/** Performs a participant's work. A failed attempt may be undone although it left no effect. */
export async function perform(
  tx: SqlExecutor,
  duty: Duty,
  order: Placed,
  effect: Omit<Effect, 'n' | 'step'>,
): Promise<void> {
  const { n } = order
  const { step } = duty
  if (effect.operation === 'compensate' && !(await wasDone(tx, n, step))) return
  await duty[effect.operation](tx, order)
  await leaveLine(tx, { n, step, ...effect })
}

async function wasDone(tx: SqlExecutor, n: number, step: string): Promise<boolean> {
  const { rows } = await tx.query(`SELECT 1 FROM effect WHERE n = $1 AND step = $2 AND operation = 'invoke'`, [n, step])
  return rows.length > 0
}
