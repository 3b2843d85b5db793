import type { SqlClient } from 'concordat/core'

/** A database that lets something else happen right before one statement. */
export interface Interposing {
  readonly sql: SqlClient
  /** Runs `work` before the n-th of the next statements, from 0, that have this parameter. */
  before(n: number, parameter: string, work: () => Promise<unknown>): void
  /** Whether the statement was sent. */
  readonly happened: boolean
}

/** Statements in transactions are let through. */
export function interposing(inner: SqlClient): Interposing {
  let next: { left: number; parameter: string; work: () => Promise<unknown> } | undefined
  let happened = false
  return {
    get happened() {
      return happened
    },
    before(n, parameter, work) {
      next = { left: n, parameter, work }
      happened = false
    },
    sql: {
      ...inner,
      query: async (text, parameters = []) => {
        if (next !== undefined && parameters.includes(next.parameter) && next.left-- === 0) {
          const { work } = next
          next = undefined
          happened = true
          await work()
        }
        return inner.query(text, parameters)
      },
    },
  }
}
