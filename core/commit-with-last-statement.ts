import type { SqlResult, SqlTransaction } from './sql.ts'

const IS_LAST = Symbol('concordat.last')

interface MaybeLast extends SqlTransaction {
  readonly [IS_LAST]?: boolean
}

/** For code that ends a transaction by writing through `tx`: the commit travels with the last of those statements. */
export function andCommit(tx: SqlTransaction): SqlTransaction {
  return tx.last === undefined ? tx : ({ ...tx, [IS_LAST]: true } as MaybeLast)
}

/** For what is written before that. */
export function withoutCommit(tx: SqlTransaction): SqlTransaction {
  return isLast(tx) ? ({ ...tx, [IS_LAST]: false } as MaybeLast) : tx
}

/** Whether the transaction ends with what is written through `tx`: a statement that wrote too little has to fail then. */
export function isLast(tx: MaybeLast): boolean {
  return tx[IS_LAST] === true
}

/** Runs the last statement of what is written through `tx`. */
export function queryLast(
  tx: SqlTransaction,
  text: string,
  parameters: readonly unknown[],
): Promise<SqlResult<Record<string, unknown>>> {
  return isLast(tx) && tx.last !== undefined ? tx.last(text, parameters) : tx.query(text, parameters)
}
