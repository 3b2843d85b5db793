import { defineChannel } from 'concordat/binder'
import { z } from 'zod'
import { PARTITIONS } from './settings.ts'

const Numbered = z.object({ key: z.string(), n: z.number().int() })
export type Numbered = z.infer<typeof Numbered>

const options = { payload: Numbered, key: ({ key }: Numbered) => key, partitions: PARTITIONS }

/** What is sent; the group `work` makes an output of each. */
export const parcels = defineChannel('faults.parcels', { ...options, groups: ['work'] })
/** The outputs; read by the group `audit`. */
export const receipts = defineChannel('faults.receipts', { ...options, groups: ['audit'] })
