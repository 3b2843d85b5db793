import { joinedTransaction, requireActive } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import type { SqlTransaction } from '../sql.ts'

/** The part of a Knex transaction that is used. */
export interface KnexTransaction {
  readonly isTransaction?: boolean | undefined
  isCompleted(): boolean
  /** The statement, whose `toString()` contains its values. */
  raw(text: string, bindings: never): PromiseLike<unknown> & { toString(): string }
}

/**
 * A transaction of Knex over `pg` as a `SqlTransaction`. Begins and ends nothing.
 *
 *     await knex.transaction(async (trx) => { await outbox.add(knexTransaction(trx), orderPlaced, order) })
 *
 * Create it at the start of the callback. It is bound to that transaction: after its end, statements are not run and reject with
 * `core.sql_transaction_ended`, or with `core.sql_transaction_missing` if they are queued behind a ROLLBACK.
 * @throws TypeError if it is not a transaction
 */
export function knexTransaction(trx: KnexTransaction): SqlTransaction {
  if (!hasMethods(trx, ['raw', 'isCompleted']) || trx.isTransaction !== true)
    throw wrongKind('knexTransaction', trx, 'the transaction that knex.transaction(async (trx) => ...) hands out')
  return joinedTransaction(
    async (text, parameters) => {
      const bindings: unknown[] = []
      // Knex uses `?` for a value, and `\?` for the operators of jsonb.
      const asked = text.replaceAll(/\$(\d+)|\?/g, (found, number: string | undefined) => {
        if (number === undefined) return `\\${found}`
        bindings.push(parameters[Number(number) - 1])
        return '?'
      })
      const statement = trx.raw(asked, bindings as never)
      try {
        return await statement
      } catch (error) {
        throw withoutValues(error, [String(statement), text])
      }
    },
    { of: trx, requireOpen: () => requireActive(!trx.isCompleted()) },
  )
}

/** Before the server's message, which may itself contain ` - `, Knex writes the statement, by default with its values. */
function withoutValues(error: unknown, prefixes: readonly string[]): unknown {
  if (!(error instanceof Error)) return error
  const { message } = error
  const prefix = prefixes.map((text) => `${text} - `).find((text) => message.startsWith(text))
  error.message = prefix === undefined ? (message.split(' - ').at(-1) ?? '') : message.slice(prefix.length)
  return error
}
