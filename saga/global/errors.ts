/** Errors of global transactions. */
import { ConcordatError } from '../../core/errors.ts'
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

/** Whether a branch of a global transaction did something is not known: the transaction is cancelled. */
export class BranchFailed extends ConcordatError {
  readonly code = 'saga.branch_failed' as const
  readonly retryable = false as const
  readonly branch: string

  constructor(branch: string, code: string, message: string) {
    super(`branch ${branch} failed with ${code}: ${message}. All of the transaction is cancelled`)
    this.branch = branch
  }
}

/**
 * Code was called within a global transaction that this process has no coordinator of: neither its service nor its definition
 * is that of one here. Nothing was done.
 */
export class TransactionNotHere extends ConcordatError {
  readonly code = 'saga.transaction_not_here' as const
  readonly retryable = false as const

  constructor(of: { readonly service: string; readonly name: string }, service: string) {
    super(
      `global transaction ${of.service}/${of.name} cannot be joined here, where the service is "${service}": run a coordinator of ` +
        `"${of.service}" on its database with "${of.name}" in \`sagas\`, or do not pass the header on`,
    )
  }
}

/** A branch was called when the transaction accepted none any longer. It was not executed. */
export class GlobalTransactionEnded extends ConcordatError {
  readonly code = 'saga.transaction_ended' as const
  readonly retryable = false as const

  constructor(name: string, id: string, why: string, options?: ErrorOptions) {
    super(`global transaction ${name}/${id} takes no more calls: ${why}`, options)
  }
}

/**
 * The global transaction of this id is cancelled: all its branches are, or never did anything. Its `cause` is what the code
 * threw after that, if it did.
 */
export class GlobalTransactionCancelled extends ConcordatError {
  readonly code = 'saga.transaction_cancelled' as const
  readonly retryable = false as const
  /** Why: the code of the failure, and its message. */
  readonly failure: { readonly code: string; readonly message: string }

  constructor(
    name: string,
    id: string,
    failure: { readonly code: string; readonly message: string },
    options?: ErrorOptions,
  ) {
    super(`global transaction ${name}/${id} was cancelled with ${failure.code}: ${failure.message}`, options)
    this.failure = failure
  }
}

/** Confirming or cancelling the branches of a global transaction has come to where a person must look: see `retry`, `skip`, `resolve`. */
export class GlobalTransactionStuck extends ConcordatError {
  readonly code = 'saga.transaction_stuck' as const
  readonly retryable = false as const

  constructor(
    name: string,
    id: string,
    failure: { readonly code: string; readonly message: string },
    options?: ErrorOptions,
  ) {
    super(
      `global transaction ${name}/${id} is decided and stuck on ${failure.code}: ${failure.message}. An operator has to act`,
      options,
    )
  }
}
