import type { Measured } from '../compare.ts'

export interface Payload {
  readonly n: number
  readonly key: string
  readonly text: string
}

/** A side publishes to the PostgreSQL of the bench and consumes from it, each message confirmed and each settled. */
export interface Side extends AsyncDisposable {
  readonly name: string
  /** Publishes in calls of `CALL` messages. */
  publish(payloads: readonly Payload[]): Promise<Measured>
  /** Publishes one by one, `AT_ONCE` at a time. */
  singly(payloads: readonly Payload[]): Promise<Measured>
  /** Consumes everything that is stored. */
  consume(count: number): Promise<Measured>
}

export const CALL = 1_000
export const AT_ONCE = 8
/** Taken and settled at a time, by all sides. */
export const TAKEN = 500

/** 200 bytes as JSON, over a hundred keys. */
export function payloads(count: number): Payload[] {
  const text = 'x'.repeat(160)
  return Array.from({ length: count }, (_, n) => ({ n, key: `account-${n % 100}`, text }))
}

export function calls<T>(items: readonly T[], of: number = CALL): T[][] {
  return Array.from({ length: Math.ceil(items.length / of) }, (_, i) => items.slice(i * of, (i + 1) * of))
}

/** `AT_ONCE` loops over the same list. */
export async function atOnce<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const rest = items.values()
  const loop = async (): Promise<void> => {
    for (const item of rest) await work(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, loop))
}
