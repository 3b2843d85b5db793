import { defineChannel } from 'concordat/binder'
import { z } from 'zod'
import { PARTITIONS } from './settings.ts'

const Numbered = z.object({ key: z.string(), n: z.number().int() })
export type Numbered = z.infer<typeof Numbered>

const options = { payload: Numbered, key: ({ key }: Numbered) => key, partitions: PARTITIONS }

/** Parcels that senders send; the group `work` makes an output of each. */
export const parcels = defineChannel('faults.parcels', { ...options, groups: ['work'] })
/** Reminders with delays of their own; the group `remind` has delayed retries. */
export const reminders = defineChannel('faults.reminders', { ...options, groups: ['remind'] })
/** The outputs; read by the group `audit`. */
export const receipts = defineChannel('faults.receipts', { ...options, groups: ['audit'] })
/** PostgreSQL: sent in transactions only; the group `book` writes its position in the transactions of its handlers. */
export const entries = defineChannel('faults.entries', { ...options, groups: ['book'], transactional: true })
