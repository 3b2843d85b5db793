/**
 * Transactions that are just code: branches are called as the code goes, and confirmed or cancelled together.
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
