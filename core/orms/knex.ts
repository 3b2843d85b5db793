import { joinedTransaction, requireActive } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import type { SqlTransaction } from '../sql.ts'

/** The part of a transaction of Knex that is used. */
export interface KnexTransaction {
  readonly isTransaction?: boolean | undefined
  isCompleted(): boolean
  /** The statement, whose `toString()` has its values in it. */
  raw(text: string, bindings: never): PromiseLike<unknown> & { toString(): string }
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

/** Knex writes the statement, by default with its values, before the server's message, which may itself contain ` - `. */
function withoutValues(error: unknown, prefixes: readonly string[]): unknown {
  if (!(error instanceof Error)) return error
  const { message } = error
  const prefix = prefixes.map((text) => `${text} - `).find((text) => message.startsWith(text))
  error.message = prefix === undefined ? (message.split(' - ').at(-1) ?? '') : message.slice(prefix.length)
  return error
}
