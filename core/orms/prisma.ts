import { hasCode, toError } from '../errors.ts'
import { joinedTransaction } from '../joined-transaction.ts'
import { hasMethods, wrongKind } from '../option-checks.ts'
import { type SqlTransaction } from '../sql.ts'
import { SqlError } from '../sql-error.ts'

/** The part of `Prisma.TransactionClient` that is used. The client itself also has `$connect`, which distinguishes it. */
export interface PrismaTransaction {
  $queryRawUnsafe(text: string, ...values: unknown[]): PromiseLike<unknown>
  $executeRawUnsafe(text: string, ...values: unknown[]): PromiseLike<number>
  readonly $connect?: never
}

/**
 * An interactive transaction of Prisma 7 on PostgreSQL, through `@prisma/adapter-pg`, as a `SqlTransaction`. Begins and ends
 * nothing.
 *
 *     await prisma.$transaction(async (tx) => { await outbox.add(prismaTransaction(tx), orderPlaced, order) })
 *
 * After the transaction, its statements reject with `core.sql_transaction_ended`; also after Prisma's `timeout`, which is 5 s
 * unless `$transaction` sets another. Values of PostgreSQL's type `bigint` are returned as text, as with `pg`.
 * @throws TypeError if it is not a transaction, or if it belongs to a batch: `$transaction([...])` has none to pass on
 */
export function prismaTransaction(tx: PrismaTransaction): SqlTransaction {
  if (!hasMethods(tx, ['$queryRawUnsafe', '$executeRawUnsafe']) || hasMethods(tx, ['$connect']))
    throw wrongKind('prismaTransaction', tx, 'the transaction that prisma.$transaction(async (tx) => ...) hands out')
  return joinedTransaction(
    async (text, parameters) => {
      try {
        // Prisma counts the rows of one kind and returns those of the other.
        if (!returnsRows(text)) return { rowCount: await tx.$executeRawUnsafe(text, ...parameters) }
        const rows = await tx.$queryRawUnsafe(text, ...parameters)
        return (rows as object[]).map(withTextForBigints)
      } catch (error) {
        throw hasCode(error, 'P2028') ? ended(error) : ofServer(error)
      }
    },
    { of: tx },
  )
}

/** Prisma uses one code for a transaction that has ended and for one that it ended itself; only its text distinguishes them. */
function ended(error: unknown): SqlError {
  const { message } = toError(error)
  const isLate = /timeout|timed out|expired/i.test(message)
  const reason = "Prisma's timeout for it passed: give `prisma.$transaction(work, { timeout })` a longer one"
  return new SqlError('core.sql_transaction_ended', isLate ? { reason } : {}, error)
}

/** Checks the statement itself, without parentheses, quotes and comments. */
function returnsRows(text: string): boolean {
  let own = text.replaceAll(/'[^']*'|"[^"]*"|--[^\n]*|\/\*.*?\*\//gs, ' ')
  for (let before = ''; before !== own; own = own.replaceAll(/\([^()]*\)/g, ' ')) before = own
  return /\bRETURNING\b/i.test(own) || !/\b(?:INSERT|UPDATE|DELETE|MERGE)\b/i.test(own.replace(LOCKING, ' '))
}

/** `SELECT ... FOR UPDATE` returns rows. */
const LOCKING = /\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b/gi

function withTextForBigints(row: object): object {
  const entries = Object.entries(row).map(([name, value]) => [name, typeof value === 'bigint' ? String(value) : value])
  return Object.fromEntries(entries)
}

interface FromServer {
  readonly meta?: {
    readonly driverAdapterError?: {
      readonly cause?: { readonly originalCode?: string; readonly originalMessage?: string }
    }
  }
}

/** Extracts the server's error with its SQLSTATE as `code`. Prisma nests it three levels below its own code. */
function ofServer(error: unknown): unknown {
  const cause = (error as FromServer).meta?.driverAdapterError?.cause
  if (cause?.originalCode === undefined) return error
  return Object.assign(new Error(cause.originalMessage), { code: cause.originalCode })
}
