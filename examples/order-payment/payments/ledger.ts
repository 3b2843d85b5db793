/** The ledger: one account per customer, one entry per charge and refund, one line per closing. */
import { migrate, quoteIdentifier, type SqlClient, type SqlTransaction } from 'concordat/core'
import { Refusal } from 'concordat/saga'
import { type Charge, DECLINED_BY_BALANCE } from '../contracts.ts'
import { readOpeningFile } from '../opening-file.ts'

export interface LedgerTables {
  readonly account: string
  readonly entry: string
  readonly filled: string
  readonly term: string
  readonly closing: string
}

export function ledgerTables(schema: string): LedgerTables {
  const quoted = quoteIdentifier(schema)
  const table = (name: string): string => `${quoted}.${name}`
  return {
    account: table('account'),
    entry: table('entry'),
    filled: table('filled'),
    term: table('term'),
    closing: table('closing'),
  }
}

export async function migrateLedger(sql: SqlClient, schema: string): Promise<void> {
  await migrate(sql, schema, 'payments', [
    {
      version: 1,
      statements: [
        `CREATE TABLE {schema}.account (
           customer text PRIMARY KEY, opening bigint NOT NULL, balance bigint NOT NULL CHECK (balance >= 0))`,
        `CREATE TABLE {schema}.entry (
           kind text NOT NULL CHECK (kind IN ('charge', 'refund')), saga_key text NOT NULL, order_id text NOT NULL,
           customer text NOT NULL, cents bigint NOT NULL CHECK (cents >= 0), PRIMARY KEY (saga_key, kind))`,
        `CREATE TABLE {schema}.filled (mark boolean PRIMARY KEY DEFAULT true CHECK (mark))`,
        `CREATE TABLE {schema}.term (term bigint PRIMARY KEY, instance text NOT NULL, at timestamptz NOT NULL DEFAULT now())`,
        `CREATE TABLE {schema}.closing (
           closing text PRIMARY KEY, term bigint, charged bigint, refunded bigint, balance bigint)`,
      ],
    },
  ])
}

/** Loads the opening balances once, at the first start of any instance: one commit writes the mark and the accounts. */
export async function openAccounts(sql: SqlClient, { account, filled }: LedgerTables, file: string): Promise<void> {
  const accounts = [...(await readOpeningFile(file, 'accounts'))]
  await sql.transaction(async (tx) => {
    const first = await tx.query(`INSERT INTO ${filled} DEFAULT VALUES ON CONFLICT DO NOTHING`)
    if (first.rowCount === 0) return
    await tx.query(
      `INSERT INTO ${account} (customer, opening, balance)
       SELECT customer, cents, cents FROM unnest($1::text[], $2::bigint[]) AS a(customer, cents)`,
      [accounts.map(([customer]) => customer), accounts.map(([, cents]) => String(cents))],
    )
  })
}

/** Debits the account and writes the entry. @throws Refusal when the balance is too small; nothing changes then */
export async function charge(tx: SqlTransaction, tables: LedgerTables, key: string, request: Charge): Promise<void> {
  const { orderId, customer, amountCents } = request
  // A charge of 0 succeeds without enough balance, and without an account.
  const charged = await tx.query(
    `WITH paid AS (
       UPDATE ${tables.account} SET balance = balance - $4::bigint
       WHERE customer = $3 AND balance >= $4::bigint RETURNING customer
     )
     INSERT INTO ${tables.entry} (kind, saga_key, order_id, customer, cents)
     SELECT 'charge', $1, $2, $3, $4::bigint WHERE $4::bigint = 0 OR EXISTS (SELECT 1 FROM paid)`,
    [key, orderId, customer, String(amountCents)],
  )
  if (charged.rowCount === 1) return
  throw new Refusal(DECLINED_BY_BALANCE, `${amountCents} cents are over the balance of customer "${customer}"`)
}

/** Refunds the charge of this key once. Does nothing without a charge. */
export async function refund(tx: SqlTransaction, { account, entry }: LedgerTables, key: string): Promise<void> {
  await tx.query(
    `WITH back AS (
       INSERT INTO ${entry} (kind, saga_key, order_id, customer, cents)
       SELECT 'refund', saga_key, order_id, customer, cents FROM ${entry} WHERE saga_key = $1 AND kind = 'charge'
       ON CONFLICT DO NOTHING RETURNING customer, cents
     )
     UPDATE ${account} a SET balance = a.balance + back.cents FROM back WHERE a.customer = back.customer`,
    [key],
  )
}
