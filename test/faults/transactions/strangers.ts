/** Programs that write to the same accounts, and know nothing of transactions across services. */
import { setTimeout as sleep } from 'node:timers/promises'
import { undo } from 'concordat/saga/undo'
import type { Random } from '../harness/random.ts'
import { add, type House as Bank, HOUSES } from './bank.ts'
import type { AccountSide } from './customers.ts'
import type { House } from './house.ts'

/** Strangers give up sooner than an XA participant: a prepared row may be locked for long. */
const LOCK_TIMEOUT_MS = 300

/** A branch whose row a stranger changed while undo held it. */
export interface Crossed {
  readonly side: Bank
  readonly saga: string
  readonly id: string
  readonly step: string
  readonly account: string
  /** Amount that the branch gave to the account; negative: it took it. */
  readonly cents: number
}

/**
 * Query for the branches that hold these accounts. Their rows are locked: none of these can be undone without seeing
 * the change.
 */
const holders = (side: Bank): string =>
  `SELECT '${side}' AS side, u.saga, u.saga_id AS id, u.step, i.new_row->>'id' AS account,
     (i.new_row->>'balance')::int - (i.old_row->>'balance')::int AS cents
   FROM ${side}.saga_undo_image i JOIN ${side}.saga_undo u ON u.branch = i.branch
   WHERE i.relation = 'account'::regclass AND i.new_row->>'id' = ANY($1)`

interface Moving {
  readonly from: string
  readonly to: string
  readonly cents: number
  readonly hold: () => Promise<unknown>
}

export class Strangers {
  /** Transactions that they committed, as far as they know. */
  done = 0
  /** Rows that they wanted and did not get. */
  waited = 0
  /** Number of those rows that a transaction holds by undo. */
  refused = 0
  /** The pause of each between two of its transactions. */
  everyMs = 60
  /** Time for which each keeps its rows locked. */
  holdMs: readonly [number, number] = [0, 25]
  readonly #house: House
  readonly #random: Random
  readonly #accounts: (side: AccountSide) => readonly string[]
  readonly #running: Promise<unknown>
  #leaving = false

  constructor(house: House, random: Random, accounts: (side: AccountSide) => readonly string[]) {
    this.#house = house
    this.#random = random
    this.#accounts = accounts
    const sides: readonly AccountSide[] = house.vault === undefined ? HOUSES : [...HOUSES, 'vault']
    this.#running = Promise.all(sides.map((side) => this.#run(side, accounts(side))))
  }

  async leave(): Promise<void> {
    this.#leaving = true
    await this.#running
  }

  async #run(side: AccountSide, accounts: readonly string[]): Promise<void> {
    while (!this.#leaving) {
      const [from = '', to = ''] = this.#random.shuffled(accounts)
      await this.#move(side, from, to, this.#random.between(1, 5)).catch((error: unknown) => {
        this.waited++
        if (undo.isRowHeld(error)) this.refused++
      })
      await sleep(this.everyMs)
    }
  }

  /**
   * Moves money past the triggers, as replication does: from a row that undo holds to any other, and rolls back unless
   * it was held to the end. @returns the branches whose rows were changed
   */
  async movePast(side: Bank): Promise<readonly Crossed[]> {
    const random = this.#random
    return this.#house.sql[side].transaction(async (tx) => {
      await tx.query(
        `SELECT set_config('session_replication_role', 'replica', true), set_config('lock_timeout', '${LOCK_TIMEOUT_MS}ms', true)`,
      )
      const { rows } = await tx.query<{ id: string }>(
        `SELECT DISTINCT new_row->>'id' AS id FROM ${side}.saga_undo_image WHERE relation = 'account'::regclass ORDER BY 1`,
      )
      if (rows.length === 0) return []
      const from = random.pick(rows).id
      const to = random.pick(this.#accounts(side).filter((id) => id !== from))
      const cents = random.between(1, 5)
      await add({ account: from, cents: -cents }, tx)
      await add({ account: to, cents }, tx)
      await tx.query('INSERT INTO foreign_move VALUES ($1, $2), ($3, $4)', [from, -cents, to, cents])
      const crossed = await tx.query<Crossed>(holders(side), [[from, to]])
      if (crossed.rows.length === 0) throw new Error('it was decided meanwhile')
      return crossed.rows
    })
  }

  /** Moves money between two accounts of the same bank, and records it in the same transaction. */
  async #move(side: AccountSide, from: string, to: string, cents: number): Promise<void> {
    const hold = (): Promise<unknown> => sleep(this.#random.between(...this.holdMs))
    await (side === 'vault'
      ? this.#house.vault?.move(from, to, cents, hold)
      : this.#moveIn(side, { from, to, cents, hold }))
    this.done++
  }

  async #moveIn(side: Bank, { from, to, cents, hold }: Moving): Promise<void> {
    await this.#house.sql[side].transaction(async (tx) => {
      await tx.query(`SELECT set_config('lock_timeout', $1, true)`, [`${LOCK_TIMEOUT_MS}ms`])
      await add({ account: from, cents: -cents }, tx)
      await add({ account: to, cents }, tx)
      await tx.query('INSERT INTO foreign_move VALUES ($1, $2), ($3, $4)', [from, -cents, to, cents])
      await hold()
    })
  }
}
