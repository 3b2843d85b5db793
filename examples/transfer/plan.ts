/** Plan of a run: its accounts, its transfers, and when each process is killed. The seed makes every random choice. */
import { mulberry32 } from '../support/random.ts'
import type { Transfer } from './contracts.ts'
import type { Options } from './options.ts'

export interface Account {
  readonly id: string
  readonly cents: number
  readonly closed: boolean
}

export interface PlannedKill {
  /** Number of transfers with an outcome at which the process is killed. */
  readonly at: number
  readonly service: 'desk' | 'north' | 'south'
  /** Starts at 0. */
  readonly index: number
}

export interface Plan {
  readonly north: readonly Account[]
  readonly south: readonly Account[]
  readonly transfers: readonly Transfer[]
  readonly kills: readonly PlannedKill[]
}

const ACCOUNTS = 20
const OPENING_CENTS = 50_000
const SERVICES = ['desk', 'north', 'south'] as const

/** Sends 1 transfer in 20 to a closed account, and 1 in 20 with more money than any account holds. */
export function makePlan({ seed, transfers, kill, processes }: Options): Plan {
  const random = mulberry32(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const accountsOf = (bank: string): Account[] =>
    Array.from({ length: ACCOUNTS }, (_, n) => ({ id: `${bank}-${n}`, cents: OPENING_CENTS, closed: false }))
  const transfer = (): Transfer => {
    const chance = random()
    return {
      from: `north-${below(ACCOUNTS)}`,
      to: chance < 0.05 ? 'closed' : `south-${below(ACCOUNTS)}`,
      cents: chance > 0.95 ? 10 * OPENING_CENTS : 1 + below(2_000),
    }
  }
  return {
    north: [...accountsOf('north'), { id: 'fees', cents: 0, closed: false }],
    south: [...accountsOf('south'), { id: 'closed', cents: 0, closed: true }],
    transfers: Array.from({ length: transfers }, transfer),
    kills: Array.from({ length: kill }, (_, i) => ({
      at: Math.floor(((i + random()) / kill) * transfers),
      service: SERVICES[below(SERVICES.length)] ?? 'desk',
      index: below(processes),
    })),
  }
}
