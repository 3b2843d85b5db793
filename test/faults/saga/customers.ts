import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode } from 'concordat/core'
import type { Random } from '../harness/random.ts'
import { openAccounts, type Transfer } from './bank.ts'
import type { Company } from './company.ts'

const ACCOUNTS = 12
export const FUNDS = 600
const EVERY_MS = 35
/** Customers who see others wait do not come in: an outage, or a busy machine, must not leave more than can be worked off. */
const MOST_UNDER_WAY = 60

/** A transfer that was requested. */
export interface Asked {
  readonly id: string
  readonly input: Transfer
}

interface House {
  readonly signal: AbortSignal
  /** Transfers that have not ended. */
  readonly underWay: () => number
}

/** Request transfers one after the other, and cancel some of them, until they are stopped. */
export class Customers {
  readonly asked: Asked[] = []
  readonly #company: Company
  readonly #random: Random
  readonly #prefix: string
  readonly #pending = new Set<Promise<void>>()
  readonly #signal: AbortSignal
  readonly #underWay: () => number
  #running: Promise<void> | undefined
  #leaving = false

  /** Share of the transfers that customers cancel. */
  readonly #cancels: number

  constructor(company: Company, random: Random, prefix: string, cancels: number, house: House) {
    this.#cancels = cancels
    this.#underWay = house.underWay
    this.#company = company
    this.#random = random
    this.#prefix = prefix
    this.#signal = house.signal
  }

  async come(): Promise<void> {
    const { here, there } = this.#company
    await openAccounts(here, this.#accounts('from'), FUNDS)
    await openAccounts(there, this.#accounts('to'), FUNDS)
    this.#running = this.#run()
  }

  /** Resolves when every requested transfer is durable. */
  async leave(): Promise<void> {
    this.#leaving = true
    await this.#running
    await Promise.all(this.#pending)
  }

  async #run(): Promise<void> {
    for (let n = 1; !this.#leaving && !this.#signal.aborted; n++) {
      if (Math.max(this.#underWay(), this.#pending.size) > MOST_UNDER_WAY) {
        await sleep(EVERY_MS)
        continue
      }
      const asked = this.#next(n)
      this.asked.push(asked)
      const cancelAfterMs = this.#random.chance(this.#cancels) ? this.#random.between(0, 250) : undefined
      const done = this.#ask(asked, cancelAfterMs).finally(() => this.#pending.delete(done))
      this.#pending.add(done)
      await sleep(EVERY_MS)
    }
  }

  #next(n: number): Asked {
    const random = this.#random
    const input: Transfer = {
      from: random.pick(this.#accounts('from')),
      to: random.pick(this.#accounts('to')),
      cents: random.between(5, 100),
      refusedBy: random.chance(0.1) ? 'credit' : random.chance(0.1) ? 'book' : 'nobody',
    }
    return { id: `${this.#prefix}-${n}`, input }
  }

  /** Again and again until it is known to be there: `start` is idempotent by the id. */
  async #ask({ id, input }: Asked, cancelAfterMs: number | undefined): Promise<void> {
    const { desk, saga } = this.#company
    await this.#insist(() => desk.start(saga, { id, input }))
    if (cancelAfterMs === undefined) return
    await sleep(cancelAfterMs)
    await this.#insist(async () => {
      await desk.cancel({ saga: saga.name, id }, { by: 'customer', reason: 'changed my mind' })
    })
  }

  async #insist(what: () => Promise<unknown>): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await what()
        return
      } catch (error) {
        if (hasCode(error, 'saga.action_refused') || hasCode(error, 'saga.not_found')) return
        await sleep(100)
      }
    }
  }

  #accounts(side: 'from' | 'to'): string[] {
    return Array.from({ length: ACCOUNTS }, (_, n) => `${this.#prefix}-${side}-${n}`)
  }
}
