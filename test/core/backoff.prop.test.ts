import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BackoffOptions, backoffDelayMs, resolveBackoff } from '../support/inside/core.ts'

const options: fc.Arbitrary<BackoffOptions> = fc.record({
  initialMs: fc.integer({ min: 0, max: 60_000 }),
  factor: fc.double({ min: 1, max: 10, noNaN: true }),
  maxMs: fc.integer({ min: 60_000, max: 3_600_000 }),
  jitter: fc.double({ min: 0, max: 1, noNaN: true }),
})
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const attempt = fc.integer({ min: 1, max: 1_000 })

describe('backoffDelayMs', () => {
  it('is a whole number of ms between 0 and maxMs, at any attempt', () => {
    fc.assert(
      fc.property(options, attempt, random, (given, n, r) => {
        const backoff = resolveBackoff('test', given)
        const delayMs = backoffDelayMs(backoff, n, r)
        expect(Number.isInteger(delayMs)).toBe(true)
        expect(delayMs).toBeGreaterThanOrEqual(0)
        expect(delayMs).toBeLessThanOrEqual(backoff.maxMs)
      }),
    )
  })

  it('never takes more off than the jitter allows', () => {
    fc.assert(
      fc.property(options, attempt, random, (given, n, r) => {
        const backoff = resolveBackoff('test', given)
        const full = backoffDelayMs(backoff, n, 0)
        expect(backoffDelayMs(backoff, n, r)).toBeGreaterThanOrEqual(Math.floor(full * (1 - backoff.jitter)) - 1)
      }),
    )
  })

  it('grows with the attempt when there is no jitter', () => {
    fc.assert(
      fc.property(options, attempt, (given, n) => {
        const backoff = resolveBackoff('test', { ...given, jitter: 0 })
        expect(backoffDelayMs(backoff, n + 1, 0)).toBeGreaterThanOrEqual(backoffDelayMs(backoff, n, 0))
      }),
    )
  })
})
