/** Errors of global transactions. */
import { type ErrorClass, type ErrorOf, errorClass } from '../../core/define-error-class.ts'
import { Refusal } from '../errors.ts'

/**
 * A branch of a global transaction was refused: the participant said no and did nothing. Code that lets it through refuses
 * the whole transaction, with the same code.
 */
export class BranchRefused extends Refusal {
  /** Which call: `2.withdraw`. */
  readonly branch: string

  constructor(branch: string, code: string, message: string) {
    super(code, message)
    this.branch = branch
  }
}

/** Fields of a `GlobalTransactionError`, by code. */
export interface GlobalTransactionErrors {
  /** Whether a branch of a global transaction did something is not known: the transaction is cancelled. */
  'saga.branch_failed': { branch: string; failure: GlobalFailure }
  /**
   * Code was called within a global transaction that this process has no coordinator of: neither its service nor its definition
   * is that of one here. Nothing was done. `owner` is the service of the transaction, `service` the one here.
   */
  'saga.transaction_not_here': { owner: string; transaction: string; service: string }
  /** A branch was called when the transaction accepted none any longer. It was not executed. */
  'saga.transaction_ended': { transaction: string; id: string; why: string }
  /**
   * The global transaction of this id is cancelled: all its branches are, or never did anything. Its `failure` says why, its `cause` is
   * what the code threw after that, if it did.
   */
  'saga.transaction_cancelled': { transaction: string; id: string; failure: GlobalFailure }
  /** Confirming or cancelling the branches of a global transaction has come to where a person must look: see `retry`, `skip`, `resolve`. */
  'saga.transaction_stuck': { transaction: string; id: string; failure: GlobalFailure }
  /**
   * A header that names no transaction: the caller's mistake, or a stranger's. Nothing was done; answer 400. Express and Fastify do, by the
   * `statusCode`.
   */
  'saga.transaction_header': { why: string; statusCode: 400 }
}

interface GlobalFailure {
  readonly code: string
  readonly message: string
}

/** Error of global transactions. Its fields depend on its `code`: see `GlobalTransactionErrors`. */
export type GlobalTransactionError<Code extends keyof GlobalTransactionErrors = keyof GlobalTransactionErrors> =
  ErrorOf<GlobalTransactionErrors, Code>

/** Error of global transactions. Its fields depend on its `code`: see `GlobalTransactionErrors`. */
export const GlobalTransactionError: ErrorClass<GlobalTransactionErrors> = errorClass<GlobalTransactionErrors>(
  'GlobalTransactionError',
  {
    'saga.branch_failed': ({ branch, failure: { code, message } }) =>
      `branch ${branch} failed with ${code}: ${message}. All of the transaction is cancelled`,
    'saga.transaction_not_here': ({ owner, transaction, service }) =>
      `global transaction ${owner}/${transaction} cannot be joined here, where the service is "${service}": run a coordinator of ` +
      `"${owner}" on its database with "${transaction}" in \`sagas\`, or do not pass the header on`,
    'saga.transaction_ended': ({ transaction, id, why }) =>
      `global transaction ${transaction}/${id} takes no more calls: ${why}`,
    'saga.transaction_cancelled': ({ transaction, id, failure: { code, message } }) =>
      `global transaction ${transaction}/${id} was cancelled with ${code}: ${message}`,
    'saga.transaction_stuck': ({ transaction, id, failure: { code, message } }) =>
      `global transaction ${transaction}/${id} is decided and stuck on ${code}: ${message}. An operator has to act`,
    'saga.transaction_header': ({ why }) =>
      `the header saga-transaction ${why}: pass on what transactionHeaders() gave, or leave it out`,
  },
)
