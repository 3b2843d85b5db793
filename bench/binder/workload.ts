import { type Channel, defineChannel } from 'concordat/binder'
import { z } from 'zod'

export const Payload = z.object({ n: z.number().int(), account: z.string(), text: z.string() })
export type Payload = z.infer<typeof Payload>

/** Handed to the broker at a time, by both sides. */
export const BATCH = 1_000
export const PREFETCH = 200
export const PARTITIONS = 4
export const KEYS = 100

export const SIZES = [
  { label: '200 B', bytes: 200 },
  { label: '2 KB', bytes: 2_000 },
] as const

/** `count` payloads over `KEYS` keys whose JSON has about `bytes` bytes. */
export function payloads(count: number, bytes: number): Payload[] {
  const text = 'x'.repeat(Math.max(0, bytes - 46))
  return Array.from({ length: count }, (_, n) => ({ n, account: `account-${n % KEYS}`, text }))
}

export function benchChannel(name: string, keyed = true): Channel<Payload, Payload> {
  return defineChannel(name, {
    payload: Payload,
    ...(keyed ? { key: ({ account }: Payload) => account } : {}),
    partitions: PARTITIONS,
    groups: ['bench'],
  })
}

/** Cuts a list into the batches both sides send. */
export function batches<T>(items: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(items.length / BATCH) }, (_, i) => items.slice(i * BATCH, (i + 1) * BATCH))
}
