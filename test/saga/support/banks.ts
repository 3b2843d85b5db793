/** Two banks, each a service with a database of its own on one server; money moves between them by XA. */
import { defineChannel } from 'concordat/binder'
import { type SqlClient, silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { type MemoryBroker, memoryTransport } from 'concordat/memory'
import { defineSaga, Refusal } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { type XaParticipantOptions, xaParticipant } from 'concordat/saga/xa'
import { createService, type Service } from 'concordat/service'
import pg from 'pg'
import { z } from 'zod'
import { FAST } from './world.ts'

const Move = z.object({ account: z.string(), cents: z.number().int() })
const Transfer = z.object({ from: z.string(), to: z.string(), cents: z.number().int() })

export const channels = {
  a: defineChannel('a.moves', { payload: Move }),
  b: defineChannel('b.moves', { payload: Move }),
} as const

export type Bank = keyof typeof channels

const calls = { timeoutMs: 400, retry: FAST, compensationRetry: FAST, confirmRetry: FAST } as const

export const transfer = defineSaga('transfer', { version: 1, input: Transfer })
  .tcc('withdraw', {
    ...calls,
    to: channels.a,
    request: ({ input }) => ({ account: input.from, cents: -input.cents }),
  })
  .tcc('deposit', { ...calls, to: channels.b, request: ({ input }) => ({ account: input.to, cents: input.cents }) })

const [moveA, moveB] = [
  defineBranch('move-a', { to: channels.a, ...calls }),
  defineBranch('move-b', { to: channels.b, ...calls }),
]
export const branches = { a: moveA, b: moveB } as const
export const payment = defineGlobalTransaction('payment', { input: Transfer, branches: [moveA, moveB] })

export interface BankDatabase {
  readonly sql: SqlClient
  readonly url: string
  balance(account: string): Promise<number>
  prepared(): Promise<readonly string[]>
  end(): Promise<void>
}

/** Creates the database, with an account. */
export async function openBank(serverUrl: string, name: string, account: string): Promise<BankDatabase> {
  const admin = new pg.Client({ connectionString: serverUrl })
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  await admin.end()
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href, max: 8 })
  const sql = pgClient(pool)
  await sql.query('CREATE TABLE accounts (id text PRIMARY KEY, cents int NOT NULL CHECK (cents >= 0))')
  await sql.query('CREATE TABLE moves (key text PRIMARY KEY)')
  await sql.query('INSERT INTO accounts VALUES ($1, 1000)', [account])
  return {
    sql,
    url: url.href,
    async balance(id) {
      const { rows } = await sql.query<{ cents: number }>('SELECT cents FROM accounts WHERE id = $1', [id])
      return rows[0]?.cents ?? Number.NaN
    },
    async prepared() {
      const { rows } = await sql.query<{ gid: string }>(
        'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()',
      )
      return rows.map(({ gid }) => gid)
    },
    end: () => pool.end(),
  }
}

/** The participant of a bank. A move that is done twice breaks the key of `moves`. */
export function bankBinding(bank: Bank, own: Pick<XaParticipantOptions, 'sql' | 'outbox'> = {}) {
  const options = { group: 'bank', backoff: FAST, ...own }
  return xaParticipant(channels[bank], options, async ({ account, cents }, { tx, key }) => {
    const { rows } = await tx.query<{ cents: number }>(
      'UPDATE accounts SET cents = cents + $2 WHERE id = $1 AND cents + $2 >= 0 RETURNING cents',
      [account, cents],
    )
    if (rows[0] === undefined) throw new Refusal('bank.no_funds', `${account} has not got ${-cents}`)
    await tx.query('INSERT INTO moves VALUES ($1)', [key])
    return { cents: rows[0].cents }
  })
}

export function bankService(bank: Bank, sql: SqlClient, broker: MemoryBroker): Service {
  return createService({
    name: `bank-${bank}`,
    sql,
    transport: memoryTransport({ broker }),
    bindings: [bankBinding(bank)],
    logger: silentLogger,
  })
}
