/** Operator of both banks, for undo branches whose rows a stranger changed past the triggers. */
import { hasCode, type SqlClient } from 'concordat/core'
import { undo } from 'concordat/saga/undo'
import type { House } from './house.ts'
import type { Crossed } from './strangers.ts'

const BY = { by: 'operator', reason: 'put right by hand' }
const LOCK_TIMEOUT_MS = 300
/** A row that undo holds, and a `lock_timeout`. */
const NOT_FREE = '55P03'

/** Effect of a settled branch that has to be undone by hand. */
interface Owed {
  readonly sql: SqlClient
  readonly account: string
  readonly cents: number
}

export class Operator {
  /** Branches that could not be taken back, and were put right. */
  settled = 0
  readonly #house: House
  #owed: readonly Owed[] = []

  constructor(house: House) {
    this.#house = house
  }

  /**
   * Undoes a branch's effect by hand and keeps the stranger's, for each branch of a stuck transaction whose row is not
   * as the branch left it.
   */
  async putRight(target: { readonly saga: string; readonly id: string }, among: readonly Crossed[]): Promise<void> {
    for (const crossed of among) {
      if (crossed.saga === target.saga && crossed.id === target.id) await this.#settle(crossed)
    }
    try {
      await this.#house.coordinator.retry(target, BY)
    } catch (error) {
      // A repeated message had caused another attempt.
      if (!hasCode(error, 'saga.action_refused')) throw error
    }
    await this.takeBack()
  }

  /** Undoes effects whose rows are free. @returns true when nothing is left to undo */
  async takeBack(): Promise<boolean> {
    const left: Owed[] = []
    for (const owed of this.#owed) if (!(await takeBack(owed))) left.push(owed)
    this.#owed = left
    return left.length === 0
  }

  async #settle({ side, saga, id, step, account, cents }: Crossed): Promise<void> {
    const { [side]: sql } = this.#house.sql
    const branch = { saga, id, step }
    try {
      const differences = await undo.differences(sql, branch, { schema: side })
      // A second stranger may have reverted the first's change: then nothing blocks the undo.
      if (differences.length === 0) return
      await undo.settle(sql, branch, 'keep', { schema: side })
    } catch (error) {
      if (hasCode(error, 'saga.undo_not_found')) return
      throw error
    }
    this.#owed = [...this.#owed, { sql, account, cents }]
    this.settled++
    this.#house.staff.note('act', `put right: ${saga}/${id}/${step}, ${-cents} to ${account}`)
  }
}

/** @returns false when the row is not free: another transaction has it, which may wait for the operator itself */
async function takeBack({ sql, account, cents }: Owed): Promise<boolean> {
  try {
    await sql.transaction(async (tx) => {
      await tx.query(`SELECT set_config('lock_timeout', '${LOCK_TIMEOUT_MS}ms', true)`)
      await tx.query('UPDATE account SET balance = balance - $2, free = free - $2 WHERE id = $1', [account, cents])
    })
    return true
  } catch (error) {
    if (!hasCode(error, NOT_FREE)) throw error
    return false
  }
}
