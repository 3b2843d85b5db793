import type { Workload } from './workload.ts'
import { leaders } from './workloads/leaders.ts'
import { outbox } from './workloads/outbox.ts'
import { settings } from './workloads/settings.ts'
import { transfers } from './workloads/transfers.ts'

/** By the name that the command takes. */
export const WORKLOADS: Readonly<Record<string, Workload>> = { transfers, outbox, leaders, settings }
