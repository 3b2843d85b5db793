import type { SqlResult, SqlTransaction } from './sql.ts'

const IS_LAST = Symbol('concordat.last')

interface MaybeLast extends SqlTransaction {
  readonly [IS_LAST]?: boolean
}

/** For code that ends a transaction with its writes through `tx`: the commit is sent with the last of these statements. */
export function andCommit(tx: SqlTransaction): SqlTransaction {
  return tx.last === undefined ? tx : ({ ...tx, [IS_LAST]: true } as MaybeLast)
}

/** For statements before the last one. */
export function withoutCommit(tx: SqlTransaction): SqlTransaction {
  return isLast(tx) ? ({ ...tx, [IS_LAST]: false } as MaybeLast) : tx
}

/** True if the transaction ends with a write through `tx`: a statement that wrote too little must fail then. */
export function isLast(tx: MaybeLast): boolean {
  return tx[IS_LAST] === true
}

/** Runs the last statement of the writes through `tx`. */
export function queryLast(
  tx: SqlTransaction,
  text: string,
  parameters: readonly unknown[],
): Promise<SqlResult<Record<string, unknown>>> {
  return isLast(tx) && tx.last !== undefined ? tx.last(text, parameters) : tx.query(text, parameters)
}
