import type { SqlClient } from 'concordat/core'
// oxlint-disable-next-line no-restricted-imports -- inside of the core: the classifier has no public name
import type { WriteFault } from '../../core/write-fault.ts'
import { refusingSql, serverError } from './refusing-sql.ts'

/**
 * Errors of PostgreSQL for a write, and the fault that each means. 42P01 of a part's own tables is for the operator.
 */
export const SQL_FAULTS: ReadonlyArray<readonly [code: string, fault: WriteFault]> = [
  ['40001', 'busy'],
  ['40P01', 'busy'],
  ['55P03', 'busy'],
  ['25P03', 'session-ended'],
  // In a statement of this package. In one of the handler it counts as an attempt, as 25P03 does.
  ['25P04', 'unavailable'],
  ['57P01', 'unavailable'],
  ['57P03', 'unavailable'],
  ['08006', 'unavailable'],
  ['53100', 'unavailable'],
  ['53300', 'unavailable'],
  ['25006', 'unavailable'],
  ['42501', 'operator'],
  ['42P01', 'operator'],
  ['22021', 'permanent'],
  ['22P05', 'permanent'],
  ['22003', 'permanent'],
  ['54000', 'permanent'],
  ['23514', 'permanent'],
]

/** Text in each server error that reaches a user. */
export const WORDS = 'the own words of the server'

/** Database that answers some statements with one code: the next `times` statements that `matches` accepts. */
export class FaultySql {
  readonly sql: SqlClient
  readonly #code: string
  #left = 0
  /** Statements that were refused. */
  refused = 0

  constructor(inner: SqlClient, code: string, matches: (text: string, parameters: readonly unknown[]) => boolean) {
    this.#code = code
    this.sql = refusingSql(inner, (text, parameters) => {
      if (this.#left === 0 || !matches(text, parameters)) return undefined
      this.#left--
      this.refused++
      return this.#error()
    })
  }

  refuse(times = Number.POSITIVE_INFINITY): void {
    this.#left = times
  }

  release(): void {
    this.#left = 0
  }

  #error(): Error {
    const fields = this.#code === '42501' ? { routine: 'aclcheck_error' } : {}
    return serverError(this.#code, `${WORDS} ${this.#code}`, fields)
  }
}
