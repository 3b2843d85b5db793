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
export type { GlobalTransactionRunOptions, Propagation } from '../coordinator/propagation.ts'
export { type InheritsTransaction, transactionHeaders } from '../http/propagating.ts'
export { type AnyHeaders, TRANSACTION_HEADER } from '../wire/transaction-header.ts'
export {
  type Branch,
  type BranchOptions,
  defineBranch,
  defineGlobalTransaction,
  type GlobalTransactionDefinition,
  type GlobalTransactionOptions,
} from './definition.ts'
export { BranchRefused, GlobalTransactionError, type GlobalTransactionErrors } from './errors.ts'
