import { expect } from 'vitest'
import { slowness } from './slowness.ts'

/** Expects that something took less than `limitMs`, times the present slowness of the machine if it took longer. */
export async function expectWithin(tookMs: number, limitMs: number): Promise<void> {
  const isInTime = tookMs < limitMs
  expect(tookMs).toBeLessThan(isInTime ? limitMs : limitMs * (await slowness()))
}
