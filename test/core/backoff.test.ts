import { SECOND } from 'concordat/core'
import { describe, expect, it } from 'vitest'
import { type BackoffOptions, backoffDelayMs, DEFAULT_BACKOFF, resolveBackoff } from '../support/inside/core.ts'

describe('backoffDelayMs', () => {
  it('doubles from one second to ten seconds by default', () => {
    const backoff = resolveBackoff('test', { jitter: 0 })
    expect([1, 2, 3, 4, 5, 6].map((attempt) => backoffDelayMs(backoff, attempt, 0))).toEqual([
      1_000, 2_000, 4_000, 8_000, 10_000, 10_000,
    ])
  })

  it('stays at the cap when the exponent overflows', () => {
    expect(backoffDelayMs(DEFAULT_BACKOFF, 100_000, 0)).toBe(10 * SECOND)
  })

  it('stays 0 when it begins at 0, at any attempt', () => {
    const backoff = resolveBackoff('test', { initialMs: 0 })
    expect([1, 2, 100_000].map((attempt) => backoffDelayMs(backoff, attempt, 0.5))).toEqual([0, 0, 0])
  })
})

describe('resolveBackoff', () => {
  it('raises the default cap to an initial delay above it', () => {
    expect(resolveBackoff('test', { initialMs: 30 * SECOND }).maxMs).toBe(30 * SECOND)
  })

  it('merges with the defaults that a caller gives', () => {
    const defaults = { initialMs: 5, factor: 3, maxMs: 50, jitter: 0 }
    expect(resolveBackoff('test', { factor: 2 }, defaults)).toEqual({ ...defaults, factor: 2 })
  })

  it.for([
    [{ initialMs: -1 }, RangeError, 'sink("a").backoff.initialMs: expected a whole number >= 0, got -1'],
    [{ initialMs: 1.5 }, RangeError, 'sink("a").backoff.initialMs: expected a whole number >= 0, got 1.5'],
    [{ initialMs: 10, maxMs: 5 }, RangeError, 'sink("a").backoff.maxMs: expected a whole number >= 10, got 5'],
    [{ factor: 0.5 }, RangeError, 'sink("a").backoff.factor: expected a number >= 1, got 0.5'],
    [{ factor: Number.NaN }, RangeError, 'sink("a").backoff.factor: expected a number >= 1, got NaN'],
    [{ factor: '2' }, TypeError, 'sink("a").backoff.factor: expected a number >= 1, got "2"'],
    [{ jitter: '0' }, TypeError, 'sink("a").backoff.jitter: expected a number from 0 to 1, got "0"'],
    [{ jitter: 1.1 }, RangeError, 'sink("a").backoff.jitter: expected a number from 0 to 1, got 1.1'],
  ] as const)('refuses %o', ([options, kind, message]) => {
    expect(() => resolveBackoff('sink("a").backoff', options as BackoffOptions)).toThrow(kind)
    expect(() => resolveBackoff('sink("a").backoff', options as BackoffOptions)).toThrow(message)
  })

  it('is frozen', () => {
    expect(Object.isFrozen(resolveBackoff('test'))).toBe(true)
  })
})
