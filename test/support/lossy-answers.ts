import type { SqlClient, SqlTransaction } from 'concordat/core'

/** A database whose nth statement or commit has no answer: the connection broke before, or after, it was done. */
export interface LossyAnswers {
  readonly sql: SqlClient
  /** Counts from now on. */
  breakNth(nth: number): void
  /** Whether the fault happened. */
  broke(): boolean
}

export function lossyAnswers(inner: SqlClient, when: 'before' | 'after'): LossyAnswers {
  let left = Number.POSITIVE_INFINITY
  let hasBroken = false
  const lost = (): Error => Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
  const strikes = (): boolean => {
    left--
    if (left !== 0) return false
    hasBroken = true
    return true
  }
  const query: SqlClient['query'] = async (text, parameters) => {
    const isHit = strikes()
    if (isHit && when === 'before') throw lost()
    const result = await inner.query<never>(text, parameters)
    if (isHit) throw lost()
    return result
  }
  const transaction: SqlClient['transaction'] = async (work) => {
    let isHit = false
    let hasEnded = false
    const result = await inner.transaction(async (tx: SqlTransaction) => {
      const { last } = tx
      const done = await work({
        ...tx,
        // Within a transaction a broken connection is a rollback, whenever it breaks.
        query: async (text, parameters) => {
          if (strikes()) throw lost()
          return tx.query(text, parameters)
        },
        // A statement and the commit.
        ...(last !== undefined && {
          last: async (text: string, parameters?: readonly unknown[]) => {
            if (strikes()) throw lost()
            hasEnded = true
            isHit = strikes()
            if (isHit && when === 'before') throw lost()
            const result = await last<never>(text, parameters)
            if (isHit) throw lost()
            return result
          },
        }),
      })
      if (hasEnded) return done
      isHit = strikes()
      if (isHit && when === 'before') throw lost()
      return done
    })
    if (isHit) throw lost()
    return result
  }
  return {
    sql: { ...inner, query, transaction },
    breakNth: (nth) => {
      left = nth
    },
    broke: () => hasBroken,
  }
}
