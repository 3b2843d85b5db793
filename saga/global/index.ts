/**
 * Transactions that are plain code: the code calls branches, and all of them are confirmed or cancelled together.
 *
 * @module
 */

export {
  currentGlobalTransaction,
  type GlobalTransaction,
  outsideGlobalTransaction,
} from '../coordinator/global-transaction.ts'
export { transactionHeaders } from '../http/propagate-transaction.ts'
export { type AnyHeaders, TRANSACTION_HEADER } from '../wire/transaction-header.ts'
export { type Branch, defineBranch, defineGlobalTransaction, type GlobalTransactionDefinition } from './definition.ts'
export { BranchRefused, GlobalTransactionError } from './errors.ts'
