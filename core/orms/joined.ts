/** What the adapters have in common: how a library is asked, and what it answers. */
import { hasCode } from '../errors.ts'
import { type SqlResult, type SqlTransaction, SqlTransactionEnded, SqlTransactionMissing } from '../sql.ts'

/** Runs one statement of ours in a library's transaction. */
export type Run = (text: string, parameters: readonly unknown[]) => Promise<unknown>

/** Names nothing that stays: it fails outside of a transaction with 25P01. */
export const PROBE = 'SAVEPOINT concordat_open; RELEASE SAVEPOINT concordat_open'

/**
 * A transaction that somebody else begins and ends.
 * @param requireOpen asked before each statement
 */
export function joined(run: Run, requireOpen: () => void | Promise<void>): SqlTransaction {
  return {
    inTransaction: true,
    query: async <Row extends object>(text: string, parameters: readonly unknown[] = []) => {
      await requireOpen()
      try {
        return resultOf(await run(text, parameters)) as SqlResult<Row>
      } catch (error) {
        throw withState(error)
      }
    },
  }
}

/**
 * For libraries that run a statement after the end of the transaction, each one by itself: asks the server before each statement.
 * @throws SqlTransactionMissing
 */
export function probing(probe: () => PromiseLike<unknown>): () => Promise<void> {
  return async () => {
    try {
      await probe()
    } catch (error) {
      const found = withState(error)
      throw hasCode(found, '25P01') ? new SqlTransactionMissing({ cause: found }) : found
    }
  }
}

/** @throws SqlTransactionEnded */
export function requireActive(isActive: boolean): void {
  if (!isActive) throw new SqlTransactionEnded()
}

/** As `pg` answers, as `postgres` does (rows with a `count`), or as TypeORM does when it is asked for all. */
interface Answer {
  readonly rows?: readonly object[]
  readonly rowCount?: number | null
  readonly records?: readonly object[]
  readonly affected?: number
}

function resultOf(answer: unknown): SqlResult<object> {
  if (Array.isArray(answer)) {
    const { count } = answer as { readonly count?: unknown }
    return { rows: [...(answer as object[])], rowCount: typeof count === 'number' ? count : answer.length }
  }
  const { rows, rowCount, records, affected } = answer as Answer
  const found = rows ?? records ?? []
  return { rows: found, rowCount: rowCount ?? affected ?? found.length }
}

/** The error of the driver, with its SQLSTATE in `code`. What libraries put around it holds the values of the statement. */
function withState(error: unknown): unknown {
  const chain: object[] = []
  for (let at = error; typeof at === 'object' && at !== null && !chain.includes(at); ) {
    chain.push(at)
    at = 'driverError' in at ? at.driverError : 'cause' in at ? at.cause : undefined
  }
  return (
    chain.findLast((at) => 'code' in at && typeof at.code === 'string' && STATE.test(at.code)) ?? chain.at(-1) ?? error
  )
}

const STATE = /^[0-9A-Z]{5}$/
