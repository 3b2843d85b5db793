import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from 'concordat/core'
import { isRetryable } from '../../support/inside/core.ts'
import type { Random } from '../harness/random.ts'
import { sagaName, type Transfer } from './bank.ts'
import type { House } from './house.ts'
import type { Way } from './kinds.ts'

const ACCOUNTS = 10
export const FUNDS = 400
const EVERY_MS = 40
/** Customers who see others wait do not come in: an outage, or a busy machine, must not leave more than can be worked off. */
const MOST_UNDER_WAY = 25
const LOOK_MS = 100
/** Number of requests between two checks. */
const LOOKS = 5
/** Share of sagas that an operator cancels, within a quarter of a second. */
const CANCELS = 0.12

/** Servers that have accounts. */
export type AccountSide = 'north' | 'south' | 'vault'

/** A transfer that was requested. */
export interface Asked {
  readonly id: string
  readonly saga: string
  readonly input: Transfer
  /** False: a process got the order to run its code, and may have died before it began. */
  readonly isDurable: boolean
}

/** Request transfers in all ways of the kind, one after the other, until they are stopped. */
export class Customers {
  readonly asked: Asked[] = []
  readonly #house: House
  readonly #random: Random
  readonly #prefix: string
  readonly #ways: readonly Way[]
  readonly #signal: AbortSignal
  readonly #pending = new Set<Promise<void>>()
  #running: Promise<void> | undefined
  #leaving = false

  constructor(house: House, random: Random, prefix: string, { ways, signal }: Asking) {
    this.#house = house
    this.#random = random
    this.#prefix = prefix
    this.#ways = ways
    this.#signal = signal
  }

  async come(): Promise<void> {
    await this.#house.vault?.pay(this.accounts('vault'), FUNDS)
    const open = 'INSERT INTO account SELECT id, $2, $2 FROM unnest($1::text[]) AS id'
    for (const side of ['north', 'south'] as const)
      await this.#house.sql[side].query(open, [this.accounts(side), FUNDS])
    this.#running = this.#run()
  }

  /** Resolves when every durably requested transfer is durable. */
  async leave(): Promise<void> {
    this.#leaving = true
    await this.#running
    await Promise.all(this.#pending)
  }

  accounts(side: AccountSide): readonly string[] {
    return Array.from({ length: ACCOUNTS }, (_, n) => `${this.#prefix}-${side}-${n}`)
  }

  async #run(): Promise<void> {
    for (let n = 1; !this.#leaving && !this.#signal.aborted; n++) {
      // Only every few requests, to spare the database.
      if (n % LOOKS === 0) while (!this.#leaving && (await this.#house.open()) > MOST_UNDER_WAY) await sleep(LOOK_MS)
      this.#ask(n)
      await sleep(EVERY_MS)
    }
  }

  #ask(n: number): void {
    const random = this.#random
    const { by, withdraw, deposit } = random.pick(this.#ways)
    const input: Transfer = {
      from: random.pick(this.accounts('north')),
      to: random.pick(this.accounts(deposit === 'xa' && this.#house.vault !== undefined ? 'vault' : 'south')),
      cents: random.between(5, 60),
      withdraw,
      deposit,
      refusedBy: random.chance(0.1) ? 'south' : random.chance(0.1) ? 'desk' : 'nobody',
    }
    const cancelAfterMs = random.chance(CANCELS) ? random.between(0, 250) : undefined
    const id = `${this.#prefix}-${n}`
    if (by === 'code') {
      this.asked.push({ id, saga: 'transfer-code', input, isDurable: false })
      random.pick(this.#house.staff.of('desk')).actor.order({ do: 'pay', id, input })
      return
    }
    const saga = sagaName(withdraw, deposit)
    this.asked.push({ id, saga, input, isDurable: true })
    const done = this.#begin(saga, id, input, cancelAfterMs).finally(() => this.#pending.delete(done))
    this.#pending.add(done)
  }

  /** Again and again until it is known to be there: `start` is idempotent by the id. */
  async #begin(name: string, id: string, input: Transfer, cancelAfterMs: number | undefined): Promise<void> {
    const { coordinator, sagas } = this.#house
    const saga = sagas.find((each) => each.name === name)
    if (saga === undefined) throw new Error(`no saga "${name}"`)
    await this.#insist(() => coordinator.start(saga, { id, input }))
    if (cancelAfterMs === undefined) return
    await sleep(cancelAfterMs)
    await this.#insist(() => coordinator.cancel({ saga: name, id }, { by: 'customer', reason: 'changed my mind' }))
  }

  async #insist(what: () => Promise<unknown>): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await what()
        return
      } catch (error) {
        if (hasCode(error, 'saga.action_refused') || hasCode(error, 'saga.not_found')) return
        if (!isRetryable(error)) throw error
        await sleep(LOOK_MS)
      }
    }
  }
}

export interface Asking {
  readonly ways: readonly Way[]
  readonly signal: AbortSignal
}
