/** Who is killed when: decided by the seed alone, so that a run can be repeated. */
import { mulberry32 } from '../../support/random.ts'

export interface PlannedKill {
  /** When this many orders were let go. */
  readonly at: number
  readonly service: string
  /** From 1. */
  readonly index: number
}

export interface KillPlanOptions {
  readonly kills: number
  readonly seed: number
  /** Orders that are expected. */
  readonly orders: number
  readonly services: readonly string[]
  readonly processes: number
}

/** In the order of their moments, which are spread over the run. */
export function planKills({ kills, seed, orders, services, processes }: KillPlanOptions): readonly PlannedKill[] {
  const random = mulberry32(seed)
  return Array.from({ length: kills }, (_, i) => {
    const service = services[Math.floor(random() * services.length)] ?? ''
    const index = 1 + Math.floor(random() * processes)
    return { service, index, at: Math.floor(((i + random()) / kills) * orders) }
  })
}
