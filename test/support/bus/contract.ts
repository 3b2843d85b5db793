/** Types that the test and the instances it starts share. */
import { defineEvent } from 'concordat/bus'
import { z } from 'zod'

/** Report from the instance to the test. */
export type Report = { readonly did: 'ready' } | { readonly did: 'ping'; readonly n: number }

export const Ping = defineEvent('ping', { payload: z.object({ n: z.number() }) })
export const SECRET = 'a-secret-of-at-least-thirty-two-bytes'
