/** Contracts between the desk and the banks: two channels, and a transfer in each kind of transaction. */
import { defineChannel } from 'concordat/binder'
import { defineSaga } from 'concordat/saga'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { z } from 'zod'

export const BANKS = ['north', 'south'] as const
export type BankName = (typeof BANKS)[number]

/** Change of one account. Negative `cents` are a withdrawal. */
const Move = z.object({ account: z.string(), cents: z.number().int() })
export type Move = z.output<typeof Move>

const movesOf = (bank: BankName) =>
  defineChannel(`transfer.${bank}.moves`, { payload: Move, key: ({ account }) => account })
export const MOVES = { north: movesOf('north'), south: movesOf('south') }

/** Transfer from an account of the north bank to an account of the south bank. */
export const Transfer = z.object({ from: z.string(), to: z.string(), cents: z.number().int().positive() })
export type Transfer = z.output<typeof Transfer>

/** Returns the fee of a large transfer, which the north bank keeps. */
export const feeOf = ({ cents }: Transfer): number => (cents > 1_000 ? Math.floor(cents / 100) : 0)

const withdrawal = (input: Transfer): Move => ({ account: input.from, cents: -input.cents })
const deposit = (input: Transfer): Move => ({ account: input.to, cents: input.cents - feeOf(input) })
const fee = (input: Transfer): Move => ({ account: 'fees', cents: feeOf(input) })

/** Each bank moves the money at once, and moves it back if the transfer fails. */
export const transferSaga = defineSaga('transfer-saga', { version: 1, input: Transfer })
  .command('withdraw', { to: MOVES.north, request: ({ input }) => withdrawal(input), compensate: true })
  .command('deposit', { to: MOVES.south, request: ({ input }) => deposit(input), compensate: true })
  .when(
    ({ input }) => feeOf(input) > 0,
    (saga) => saga.command('fee', { to: MOVES.north, request: ({ input }) => fee(input), compensate: true }),
  )

/** Each bank holds the money, and moves it once all banks hold theirs. */
export const transferTcc = defineSaga('transfer-tcc', { version: 1, input: Transfer })
  .tcc('withdraw', { to: MOVES.north, request: ({ input }) => withdrawal(input) })
  .tcc('deposit', { to: MOVES.south, request: ({ input }) => deposit(input) })
  .when(
    ({ input }) => feeOf(input) > 0,
    (saga) => saga.tcc('fee', { to: MOVES.north, request: ({ input }) => fee(input) }),
  )

const north = defineBranch('north', { to: MOVES.north })
const south = defineBranch('south', { to: MOVES.south })

/** Each bank holds the money as in `transferTcc`, but code makes the calls. */
export const transferCode = defineGlobalTransaction('transfer-code', { input: Transfer, branches: [north, south] })

/** Subset of the object that `globalTransaction` passes to its code: the calls of this example. */
interface Calls {
  call(branch: typeof north, move: Move): Promise<unknown>
}

export async function transferByCode(global: Calls, input: Transfer): Promise<void> {
  await global.call(north, withdrawal(input))
  await global.call(south, deposit(input))
  if (feeOf(input) > 0) await global.call(north, fee(input))
}
