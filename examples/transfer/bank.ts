/** A bank: its accounts, and its participant for each kind of transaction. */
import type { Binding } from 'concordat/binder'
import type { SqlTransaction } from 'concordat/core'
import { participant, Refusal } from 'concordat/saga'
import { tccParticipant } from 'concordat/saga/tcc'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { xaParticipant } from 'concordat/saga/xa'
import { type BankName, MOVES, type Move } from './contracts.ts'
import type { Kind } from './options.ts'

/** Creates the accounts. `free` is the money that can be spent: less than `balance` while money is held. */
export const TABLES = `
  CREATE TABLE account (
    id text PRIMARY KEY, balance int NOT NULL, free int NOT NULL, closed boolean NOT NULL DEFAULT false)`

export function bankBinding(bank: BankName, kind: Kind): Binding {
  const options = { group: bank, concurrency: 16 }
  const inTx = { ...options, effects: 'tx' } as const
  if (kind === 'saga') return participant(MOVES[bank], inTx, { invoke: moveNow, compensate: moveBack })
  if (kind === 'xa') return xaParticipant(MOVES[bank], options, moveUnseen)
  if (kind === 'undo') return undoParticipant(MOVES[bank], options, moveForNow)
  return tccParticipant(MOVES[bank], inTx, { try: hold, confirm: moveHeld, cancel: letGo })
}

interface InBank {
  readonly tx: SqlTransaction
}

async function moveNow({ account, cents }: Move, { tx }: InBank): Promise<void> {
  await requireOpen(tx, account)
  await add(tx, account, cents)
}

/** Moves the money without any undo of its own: PostgreSQL hides the prepared change until the decision. */
async function moveUnseen({ account, cents }: Move, { tx }: InBank): Promise<void> {
  await requireOpen(tx, account)
  await add(tx, account, cents)
}

/** Moves the money without any undo of its own: triggers store the old row. The lock keeps out undecided transfers. */
async function moveForNow({ account, cents }: Move, { tx }: InBank): Promise<void> {
  const [row] = await undo.lockRows<{ free: number; closed: boolean }>(tx, 'account', [account])
  if (row === undefined || row.closed) throw new Refusal('bank.closed', `${account} is closed or does not exist`)
  if (row.free + cents < 0) throw new Refusal('bank.no_funds', `${account} has less than ${-cents} cents`)
  await tx.query('UPDATE account SET balance = balance + $2, free = free + $2 WHERE id = $1', [account, cents])
}

/** Moves the money back. The participant calls it only for money that was moved. */
async function moveBack({ account, cents }: Move, { tx }: InBank): Promise<void> {
  await tx.query('UPDATE account SET balance = balance - $2, free = free - $2 WHERE id = $1', [account, cents])
}

/** Holds a withdrawal, so that the money cannot be spent. A deposit changes nothing until it is confirmed. */
async function hold({ account, cents }: Move, { tx }: InBank): Promise<void> {
  await requireOpen(tx, account)
  if (cents >= 0) return
  const { rowCount } = await tx.query('UPDATE account SET free = free + $2 WHERE id = $1 AND free + $2 >= 0', [
    account,
    cents,
  ])
  if (rowCount === 0) throw new Refusal('bank.no_funds', `${account} has less than ${-cents} cents`)
}

async function moveHeld({ account, cents }: Move, { tx }: InBank): Promise<void> {
  const text = 'UPDATE account SET balance = balance + $2, free = free + greatest($2, 0) WHERE id = $1'
  await tx.query(text, [account, cents])
}

async function letGo({ account, cents }: Move, { tx, tried }: InBank & { readonly tried: boolean }): Promise<void> {
  if (tried) await tx.query('UPDATE account SET free = free - least($2, 0) WHERE id = $1', [account, cents])
}

/** @throws Refusal when the account has too little free money */
async function add(tx: SqlTransaction, account: string, cents: number): Promise<void> {
  const text = 'UPDATE account SET balance = balance + $2, free = free + $2 WHERE id = $1 AND free + $2 >= 0'
  const { rowCount } = await tx.query(text, [account, cents])
  if (rowCount === 0) throw new Refusal('bank.no_funds', `${account} has less than ${-cents} cents`)
}

async function requireOpen(tx: SqlTransaction, account: string): Promise<void> {
  const { rows } = await tx.query<{ closed: boolean }>('SELECT closed FROM account WHERE id = $1', [account])
  if (rows[0]?.closed === false) return
  throw new Refusal('bank.closed', `${account} is closed or does not exist`)
}
