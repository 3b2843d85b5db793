/** Plans which process is killed when. The same seed gives the same plan, so that a run can be repeated. */
import { mulberry32 } from '../../support/random.ts'

export interface PlannedKill {
  /** Number of admitted orders at which the kill happens. */
  readonly at: number
  readonly service: string
  /** Number of the process within its service, from 1. */
  readonly index: number
}

export interface KillPlanOptions {
  readonly kills: number
  readonly seed: number
  /** Number of expected orders. */
  readonly orders: number
  readonly services: readonly string[]
  readonly processes: number
}

/** Plans the kills, spread over the run and sorted by time. */
export function planKills({ kills, seed, orders, services, processes }: KillPlanOptions): readonly PlannedKill[] {
  const random = mulberry32(seed)
  return Array.from({ length: kills }, (_, i) => {
    const service = services[Math.floor(random() * services.length)] ?? ''
    const index = 1 + Math.floor(random() * processes)
    return { service, index, at: Math.floor(((i + random()) / kills) * orders) }
  })
}
