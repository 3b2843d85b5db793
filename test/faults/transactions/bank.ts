/**
 * Two banks and a desk, each with a PostgreSQL of its own; the south's XA work is in its vault, a MariaDB. A transfer
 * takes money from an account of the north and gives it to one of the south; a saga also keeps one cent of it for the
 * desk, in its own database.
 *
 * Every effect leaves a line in the table `effect` of its database, in its transaction. The table has no unique key: an
 * effect made twice is there twice.
 */
import { type Channel, defineChannel, type SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import type { Outbox } from 'concordat/outbox'
import { defineSaga, Refusal } from 'concordat/saga'
import { type Branch, defineBranch, defineGlobalTransaction, type GlobalTransaction } from 'concordat/saga/global'
import { tccParticipant } from 'concordat/saga/tcc'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { xaParticipant } from 'concordat/saga/xa'
import { z } from 'zod'
import { forgetful } from '../harness/forgetful.ts'
import { uncompared } from './broken.ts'
import type { BranchKind } from './kinds.ts'
import { ASK_AGAIN_MS, LOCK_TIMEOUT_MS } from './settings.ts'

export const HOUSES = ['north', 'south'] as const
export type House = (typeof HOUSES)[number]
export const BRANCH_KINDS = ['tcc', 'xa', 'undo'] as const satisfies readonly BranchKind[]

const kind = z.enum(BRANCH_KINDS)
export const Transfer = z.object({
  from: z.string(),
  to: z.string(),
  cents: z.number().int(),
  withdraw: kind,
  deposit: kind,
  /** Participant that refuses. */
  refusedBy: z.enum(['nobody', 'south', 'desk']),
})
export type Transfer = z.infer<typeof Transfer>

/** Negative: it is taken. */
const Move = z.object({ account: z.string(), cents: z.number().int() })
export type Move = z.infer<typeof Move>

type ByKind<T> = Readonly<Record<BranchKind, T>>

const movesOf = (house: House): ByKind<Channel<Move, Move>> => {
  const moves = (kind: BranchKind) => defineChannel(`${house}.${kind}`, { payload: Move, groups: [house] })
  return { tcc: moves('tcc'), xa: moves('xa'), undo: moves('undo') }
}
export const MOVES = { north: movesOf('north'), south: movesOf('south') }

export const FEE = 1
/** Account that accepts no payment: a participant that should refuse gets it. */
const CLOSED = 'closed'

/** An outage must not use up the attempts: nothing may get stuck. */
const PATIENT = { maxAttempts: 1_000, initialMs: 100, maxMs: 1_000 }
const CALLS = { timeoutMs: ASK_AGAIN_MS, retry: PATIENT, compensationRetry: PATIENT, confirmRetry: PATIENT }

const withdrawal = ({ from, cents }: Transfer): Move => ({ account: from, cents: -cents })
const deposit = ({ to, cents, refusedBy }: Transfer, fee: number): Move => ({
  account: refusedBy === 'south' ? CLOSED : to,
  cents: cents - fee,
})

export const sagaName = (withdraw: BranchKind, deposit: BranchKind): string => `transfer-${withdraw}-${deposit}`

/** @param worker who makes the desk's part of it */
export function transferSaga(worker: string, withdraw: BranchKind, deposits: BranchKind) {
  const keep = (what: Effect['operation'], cents: (tx: SqlExecutor) => Promise<unknown>) => {
    return async ({ tx, key }: { readonly tx: SqlExecutor; readonly key: string }): Promise<void> => {
      await cents(tx)
      await leaveLine(tx, { key, operation: what, worker })
    }
  }
  return defineSaga(sagaName(withdraw, deposits), { version: 1, input: Transfer })
    .tcc('withdraw', { ...CALLS, to: MOVES.north[withdraw], request: ({ input }) => withdrawal(input) })
    .tcc('deposit', { ...CALLS, to: MOVES.south[deposits], request: ({ input }) => deposit(input, FEE) })
    .tcc('fee', {
      retry: PATIENT,
      compensationRetry: PATIENT,
      confirmRetry: PATIENT,
      try: keep('try', () => Promise.resolve()),
      confirm: keep('confirm', (tx) => tx.query('INSERT INTO fee VALUES ($1)', [FEE])),
      cancel: async ({ tx, key, tried }) => {
        if (tried) await leaveLine(tx, { key, operation: 'cancel', worker })
      },
    })
    .step('book', {
      pivot: true,
      transactional: true,
      retry: PATIENT,
      invoke: ({ input }) => {
        if (input.refusedBy === 'desk') throw new Refusal('desk.not_booked', 'the book is closed')
      },
    })
}

/** Every saga that a desk runs: those of all kinds, so that any desk can finish another's sagas. */
export function sagasOf(worker: string) {
  return BRANCH_KINDS.flatMap((withdraw) => BRANCH_KINDS.map((deposits) => transferSaga(worker, withdraw, deposits)))
}

const branchesOf = (house: House): ByKind<Branch<Move, unknown>> => {
  const branch = (kind: BranchKind) => defineBranch(`${house}-${kind}`, { ...CALLS, to: MOVES[house][kind] })
  return { tcc: branch('tcc'), xa: branch('xa'), undo: branch('undo') }
}
const CALLABLE = { north: branchesOf('north'), south: branchesOf('south') }

export const transferCode = defineGlobalTransaction('transfer-code', {
  input: Transfer,
  branches: HOUSES.flatMap((house) => BRANCH_KINDS.map((kind) => CALLABLE[house][kind])),
})

export async function transferByCode(global: GlobalTransaction, input: Transfer): Promise<void> {
  await global.call(CALLABLE.north[input.withdraw], withdrawal(input))
  await global.call(CALLABLE.south[input.deposit], deposit(input, 0))
  if (input.refusedBy === 'desk') throw new Refusal('desk.not_booked', 'the book is closed')
}

/** Effects: `try`, `confirm` and `cancel` of TCC; XA and undo have one line, which is gone when it is rolled back. */
export interface Effect {
  readonly key: string
  readonly operation: 'try' | 'confirm' | 'cancel' | 'do'
  readonly worker: string
}

export interface Side {
  readonly group: House
  readonly concurrency: number
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly schema: string
}

interface Inside {
  readonly tx: SqlExecutor
  readonly key: string
}

/** @param mistake the one that is built in, if it is of this kind */
type Participate = (house: House, side: Side, worker: string, mistake: string | undefined) => SinkBinding

/** Participation of a bank, by kind: each kind is a row. */
export const BRANCHES: ByKind<Participate> = {
  tcc: (house, side, worker, mistake) => {
    const line = (tx: SqlExecutor, key: string, operation: Effect['operation']): Promise<void> =>
      leaveLine(tx, { key, operation, worker })
    const handlers = {
      try: async (move: Move, { tx, key }: Inside) => {
        await hold(move, tx)
        await line(tx, key, 'try')
      },
      confirm: async (move: Move, { tx, key }: Inside) => {
        await moveHeld(move, tx)
        await line(tx, key, 'confirm')
      },
      cancel: async (move: Move, { tx, key, tried = true }: Inside & { readonly tried?: boolean }) => {
        if (!tried) return
        await letGo(move, tx)
        await line(tx, key, 'cancel')
      },
    }
    if (mistake === 'no-fence') {
      const { confirm, cancel } = handlers
      return forgetful(MOVES[house].tcc, side, { invoke: handlers.try, confirm, compensate: cancel })
    }
    // Covers both declarations: one bank may have effects elsewhere, as far as the library knows, the other has none.
    const effects = house === 'north' ? 'anywhere' : 'tx'
    return tccParticipant(MOVES[house].tcc, { ...side, effects }, handlers)
  },
  xa: (house, side, worker) =>
    xaParticipant(MOVES[house].xa, { ...side, lockTimeoutMs: LOCK_TIMEOUT_MS }, async (move, { tx, key }) => {
      requireOpen(move)
      await add(move, tx)
      await leaveLine(tx, { key, operation: 'do', worker })
    }),
  undo: (house, side, worker, mistake) => {
    const { schema } = side
    const options = { ...side, lockTimeoutMs: LOCK_TIMEOUT_MS }
    const binding = undoParticipant(MOVES[house].undo, options, async (move, { tx, key }) => {
      requireOpen(move)
      // No other saga may undo the rows that this decision depends on.
      await undo.lockRows(tx, 'account', [move.account], { schema })
      await add(move, tx)
      await leaveLine(tx, { key, operation: 'do', worker })
    })
    return mistake === 'restore-without-comparison' ? uncompared(binding, side) : binding
  },
}

/** Tables that undo participants write to. */
export const PROTECTED = ['account', 'effect'] as const

function requireOpen(move: Move): void {
  if (isClosed(move)) throw new Refusal('bank.closed', 'the account is closed')
}

export function isClosed({ account }: Move): boolean {
  return account === CLOSED
}

/** Reserves: incoming money is not there before it is confirmed; outgoing money can no longer be spent. */
async function hold(move: Move, tx: SqlExecutor): Promise<void> {
  requireOpen(move)
  if (move.cents >= 0) return
  const text = 'UPDATE account SET free = free + $2 WHERE id = $1 AND free + $2 >= 0'
  requireFunds(move, (await tx.query(text, [move.account, move.cents])).rowCount)
}

async function moveHeld({ account, cents }: Move, tx: SqlExecutor): Promise<void> {
  const text = 'UPDATE account SET balance = balance + $2, free = free + greatest($2, 0) WHERE id = $1'
  await tx.query(text, [account, cents])
}

async function letGo({ account, cents }: Move, tx: SqlExecutor): Promise<void> {
  await tx.query('UPDATE account SET free = free - least($2, 0) WHERE id = $1', [account, cents])
}

/** @throws Refusal when there is not so much */
export async function add(move: Move, tx: SqlExecutor): Promise<void> {
  const text = 'UPDATE account SET balance = balance + $2, free = free + $2 WHERE id = $1 AND free + $2 >= 0'
  requireFunds(move, (await tx.query(text, [move.account, move.cents])).rowCount)
}

function requireFunds({ account, cents }: Move, rowCount: number): void {
  if (rowCount === 0) throw new Refusal('bank.no_funds', `${account} has not got ${-cents}`)
}

async function leaveLine(tx: SqlExecutor, { key, operation, worker }: Effect): Promise<void> {
  await tx.query('INSERT INTO effect (key, operation, worker) VALUES ($1, $2, $3)', [key, operation, worker])
}

/** `foreign_move`: changes of the accounts by programs that know nothing of transactions. */
export async function createTables(sql: SqlExecutor): Promise<void> {
  for (const text of [
    'CREATE TABLE account (id text PRIMARY KEY, balance int NOT NULL, free int NOT NULL)',
    'CREATE TABLE foreign_move (account text NOT NULL, cents int NOT NULL)',
    'CREATE TABLE fee (cents int NOT NULL)',
    'CREATE TABLE effect (number bigserial PRIMARY KEY, key text NOT NULL, operation text NOT NULL, worker text NOT NULL)',
  ]) {
    await sql.query(text)
  }
}
