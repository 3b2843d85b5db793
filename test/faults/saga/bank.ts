/**
 * The bank of the test: accounts in two databases, and the saga that moves money from one in the first to one in the second.
 *
 * | step    | where                          | undo             |
 * |---------|--------------------------------|------------------|
 * | open    | coordinator, transactional     | a line           |
 * | reserve | `debit`: balance to reserved   | the other way    |
 * | credit  | `credit`: adds to the balance  | takes it off     |
 * | book    | coordinator, transactional     | the pivot: none  |
 * | settle  | `debit`: the reserved is gone  | none             |
 *
 * Every effect leaves a line in the table `effect` of its database, in its transaction. The table has no unique key: what
 * happened twice is there twice.
 */
import { defineChannel } from 'concordat/binder'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import { defineSaga, Refusal } from 'concordat/saga'
import { z } from 'zod'
import { ASK_AGAIN_MS } from './settings.ts'

export const Transfer = z.object({
  from: z.string(),
  to: z.string(),
  cents: z.number().int(),
  /** Participant that refuses. */
  refusedBy: z.enum(['nobody', 'credit', 'book']),
})
export type Transfer = z.infer<typeof Transfer>

const Debit = z.object({ account: z.string(), cents: z.number().int(), what: z.enum(['reserve', 'settle']) })
const Credit = z.object({ account: z.string(), cents: z.number().int(), closed: z.boolean() })
export const debitCommands = defineChannel('debit.commands', { payload: Debit, groups: ['debit'] })
export const creditCommands = defineChannel('credit.commands', { payload: Credit, groups: ['credit'] })

/** Called in the middle of a transaction, after its effect. */
export type InMiddle = (key: string, operation: Effect['operation']) => Promise<void>

export interface Effect {
  readonly key: string
  readonly operation: 'invoke' | 'compensate'
  readonly worker: string
}

/** An outage must not use up the attempts: nothing may get stuck. */
const PATIENT = { maxAttempts: 1_000, initialMs: 200, maxMs: 1_000 }
const ASKS = { timeoutMs: ASK_AGAIN_MS, retry: PATIENT, compensationRetry: PATIENT }

export function transferSaga(worker: string, inMiddle: InMiddle) {
  const line = async (tx: SqlExecutor, key: string, operation: Effect['operation']): Promise<void> => {
    await leaveLine(tx, { key, operation, worker })
    await inMiddle(key, operation)
  }
  return defineSaga('transfer', { version: 1, input: Transfer })
    .step('open', {
      transactional: true,
      retry: PATIENT,
      compensationRetry: PATIENT,
      invoke: ({ tx, key }) => line(tx, key, 'invoke'),
      compensate: ({ tx, key }) => line(tx, key, 'compensate'),
    })
    .command('reserve', {
      ...ASKS,
      to: debitCommands,
      request: ({ input }) => ({ account: input.from, cents: input.cents, what: 'reserve' as const }),
      compensate: true,
    })
    .command('credit', {
      ...ASKS,
      to: creditCommands,
      request: ({ input }) => ({ account: input.to, cents: input.cents, closed: input.refusedBy === 'credit' }),
      compensate: true,
    })
    .step('book', {
      transactional: true,
      pivot: true,
      retry: PATIENT,
      invoke: async ({ tx, key, input }) => {
        if (input.refusedBy === 'book') throw new Refusal('bank.not_booked', 'the book is closed')
        await line(tx, key, 'invoke')
      },
    })
    .command('settle', {
      timeoutMs: ASK_AGAIN_MS,
      retry: PATIENT,
      to: debitCommands,
      request: ({ input }) => ({ account: input.from, cents: input.cents, what: 'settle' as const }),
    })
}

/** The effect of one command, in the transaction of its participant. */
export interface Command<Request> {
  invoke(request: Request, tx: SqlExecutor): Promise<void>
  compensate(request: Request, tx: SqlExecutor): Promise<void>
}

export const debit: Command<z.infer<typeof Debit>> = {
  async invoke({ account, cents, what }, tx) {
    if (what === 'settle') return move(tx, account, 0, -cents)
    const { rowCount } = await tx.query(
      'UPDATE account SET balance = balance - $2, reserved = reserved + $2 WHERE id = $1 AND balance >= $2',
      [account, cents],
    )
    if (rowCount === 0) throw new Refusal('bank.no_funds', `${account} has less than ${cents}`)
  },
  compensate: ({ account, cents }, tx) => move(tx, account, cents, -cents),
}

export const credit: Command<z.infer<typeof Credit>> = {
  async invoke({ account, cents, closed }, tx) {
    if (closed) throw new Refusal('bank.closed', `${account} is closed`)
    await move(tx, account, cents, 0)
  },
  compensate: ({ account, cents }, tx) => move(tx, account, -cents, 0),
}

async function move(tx: SqlExecutor, account: string, balance: number, reserved: number): Promise<void> {
  await tx.query('UPDATE account SET balance = balance + $2, reserved = reserved + $3 WHERE id = $1', [
    account,
    balance,
    reserved,
  ])
}

export async function leaveLine(tx: SqlExecutor, { key, operation, worker }: Effect): Promise<void> {
  await tx.query('INSERT INTO effect (key, operation, worker) VALUES ($1, $2, $3)', [key, operation, worker])
}

export async function createBank(sql: SqlClient): Promise<void> {
  await sql.query('CREATE TABLE account (id text PRIMARY KEY, balance bigint NOT NULL, reserved bigint NOT NULL)')
  await sql.query(
    'CREATE TABLE effect (number bigserial PRIMARY KEY, key text NOT NULL, operation text NOT NULL, worker text NOT NULL)',
  )
}

export async function openAccounts(sql: SqlClient, ids: readonly string[], cents: number): Promise<void> {
  await sql.query('INSERT INTO account SELECT id, $2, 0 FROM unnest($1::text[]) AS id', [ids, cents])
}
