import { defineChannel } from 'concordat/binder'
import { z } from 'zod'

const Job = z.object({ n: z.number().int() })
export type Job = z.infer<typeof Job>
export const jobs = defineChannel('jobs', { payload: Job, key: ({ n }) => String(n) })
