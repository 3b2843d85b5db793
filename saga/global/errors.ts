/** Errors of global transactions. */
import { type ErrorClass, type ErrorOf, errorClass } from '../../core/define-error-class.ts'
import { Refusal } from '../errors.ts'

/**
 * A participant refused a branch of a global transaction, and did nothing. If the code does not catch this error, the whole
 * transaction is refused with the same code.
 */
export class BranchRefused extends Refusal {
  /** Call that was refused: `2.withdraw`. */
  readonly branch: string

  constructor(branch: string, code: string, message: string) {
    super(code, message)
    this.branch = branch
  }
}

/** Fields of a `GlobalTransactionError`, by code. */
export interface GlobalTransactionErrors {
  /** The effect of a branch of a global transaction is unknown, so the transaction is cancelled. */
  'saga.branch_failed': { branch: string; failure: GlobalFailure }
  /**
   * Code was called within a global transaction that no coordinator in this process can join: neither its service nor its
   * definition belongs to a coordinator here. Nothing was done. `owner` is the service of the transaction, `service` the service
   * here.
   */
  'saga.transaction_not_here': { owner: string; transaction: string; service: string }
  /** A branch was called after the transaction had stopped accepting branches. It was not executed. */
  'saga.transaction_ended': { transaction: string; id: string; why: string }
  /**
   * The global transaction with this id was cancelled: its branches are cancelled or never had an effect. `failure` has the
   * reason; `cause` is the error that the code threw afterwards, if any.
   */
  'saga.transaction_cancelled': { transaction: string; id: string; failure: GlobalFailure }
  /**
   * Confirming or cancelling the branches of a global transaction needs an operator: see `retry`, `skip`, `resolve`. `failure`
   * has the branch and the reason; `cause` is the error that the code threw, if any.
   */
  'saga.transaction_stuck': { transaction: string; id: string; failure: GlobalFailure }
  /**
   * A header does not name a transaction, by mistake of the caller or from an unknown sender. Nothing was done. Respond with 400;
   * Express and Fastify do so because of `statusCode`.
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
