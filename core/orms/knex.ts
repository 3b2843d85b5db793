import { joinedTransaction, requireActive } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../options.ts'
import type { SqlTransaction } from '../sql.ts'

/** The part of a transaction of Knex that is used. */
export interface KnexTransaction {
  readonly isTransaction?: boolean | undefined
  isCompleted(): boolean
  raw(text: string, bindings: never): PromiseLike<unknown>
}

/**
 * A transaction of Knex over `pg` as a `SqlTransaction`. Begins and ends nothing.
 *
 *     await knex.transaction(async (trx) => { await outbox.add(knexTransaction(trx), orderPlaced, order) })
 *
 * Make it at the start of the callback. It is bound to that transaction: after its end statements reject with `core.sql_transaction_ended`
 * and are not run, behind a ROLLBACK under way with `core.sql_transaction_missing`.
 * @throws TypeError when it is no transaction
 */
export function knexTransaction(trx: KnexTransaction): SqlTransaction {
  if (!hasMethods(trx, ['raw', 'isCompleted']) || trx.isTransaction !== true)
    throw wrongKind('knexTransaction', trx, 'the transaction that knex.transaction(async (trx) => ...) hands out')
  return joinedTransaction(
    async (text, parameters) => {
      const bindings: unknown[] = []
      // Knex has `?` for a value, and `\?` for the operators of jsonb.
      const asked = text.replaceAll(/\$(\d+)|\?/g, (found, number: string | undefined) => {
        if (number === undefined) return `\\${found}`
        bindings.push(parameters[Number(number) - 1])
        return '?'
      })
      try {
        return await trx.raw(asked, bindings as never)
      } catch (error) {
        throw withoutValues(error)
      }
    },
    { of: trx, requireOpen: () => requireActive(!trx.isCompleted()) },
  )
}

/** Knex writes the statement with its values before what the server says. */
function withoutValues(error: unknown): unknown {
  if (error instanceof Error) error.message = error.message.split(' - ').at(-1) ?? ''
  return error
}
