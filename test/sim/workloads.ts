import type { Workload } from './workload.ts'
import { backlog } from './workloads/backlog.ts'
import { crowd } from './workloads/crowd.ts'
import { families } from './workloads/families.ts'
import { flows } from './workloads/flows.ts'
import { leaders } from './workloads/leaders.ts'
import { leases } from './workloads/leases.ts'
import { log } from './workloads/log.ts'
import { outbox } from './workloads/outbox.ts'
import { settings } from './workloads/settings.ts'
import { shops } from './workloads/shops.ts'
import { terms } from './workloads/terms.ts'
import { transfers } from './workloads/transfers.ts'

/** Workloads by the name that the command takes. */
export const WORKLOADS: Readonly<Record<string, Workload>> = {
  transfers,
  outbox,
  leaders,
  settings,
  backlog,
  flows,
  families,
  shops,
  crowd,
  terms,
  log,
  leases,
}
