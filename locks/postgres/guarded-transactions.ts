import { hasCode } from '../../core/errors.ts'
import { storableText } from '../../core/escape-nul.ts'
import { explainMissing, refusePrepared, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import { LockError } from '../errors.ts'
import type { AcquireOptions, Lease, Locks } from '../lock.ts'
import { GUARD_REFUSED } from './functions-commit-guard.ts'
import { LOCK_STORE_PART } from './tables.ts'

/** Ties transactions of the database to leases that are kept in it. */
export class GuardedTransactions {
  readonly #sql: SqlClient
  readonly #schema: string
  readonly #text: string

  /** @param fields.quoted the schema as written in SQL */
  constructor(fields: { sql: SqlClient; schema: string; quoted: string }) {
    this.#sql = fields.sql
    this.#schema = fields.schema
    this.#text = `SELECT FROM ${fields.quoted}.lock_guard_by($1, $2::bigint)`
  }

  async guard(tx: SqlTransaction, lease: Pick<Lease, 'key' | 'token'>): Promise<void> {
    await refusePrepared(`guard of lock "${lease.key}"`, tx)
    try {
      await tx.query(this.#text, [storableText(lease.key), String(lease.token)])
    } catch (error) {
      throw explainMissing(refusalOf(error, lease), this.#schema, LOCK_STORE_PART.call)
    }
  }

  async transaction<T>(
    locks: Locks,
    key: string,
    options: AcquireOptions,
    work: (tx: SqlTransaction, lease: Lease) => T | Promise<T>,
  ): Promise<T> {
    let committed: { readonly result: T } | undefined
    try {
      return await locks.using(key, options, async (lease) => {
        const result = await this.#transaction(lease, work)
        committed = { result }
        return result
      })
    } catch (error) {
      // The lease ended after the commit, or had no other holder in between: the commit is the proof.
      if (committed !== undefined && hasCode(error, 'locks.lost')) return committed.result
      throw error
    }
  }

  async #transaction<T>(lease: Lease, work: (tx: SqlTransaction, lease: Lease) => T | Promise<T>): Promise<T> {
    try {
      return await this.#sql.transaction(async (tx) => {
        await this.guard(tx, lease)
        return work(tx, lease)
      })
    } catch (error) {
      throw refusalOf(error, lease)
    }
  }
}

/** Translates the trigger's error at the commit; returns any other error unchanged. */
function refusalOf(error: unknown, { key, token }: Pick<Lease, 'key' | 'token'>): unknown {
  if (!hasCode(error, GUARD_REFUSED)) return error
  const { detail } = error as { readonly detail?: string }
  return new LockError('locks.fence_rejected', { resource: key, token, lastToken: Number(detail) })
}
