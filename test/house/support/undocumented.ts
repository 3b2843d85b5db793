/**
 * Names with and without docstrings, for `reference.test.ts`.
 *
 * @module
 */

/** Has one. */
export const told = 1

export const bare = 2

/** Has one, and one of its members. */
export interface ToldOptions {
  /** Has one. */
  readonly told: number
  readonly bare: number
}

export interface BareOptions {
  /** Has one. */
  readonly told: number
}

/** Members of what is not written by users need none. */
export interface Told {
  readonly bare: number
}

/** Has one on its first overload. */
export function overloaded(value: string): string
export function overloaded(value: number): number
export function overloaded(value: string | number): string | number {
  return value
}

export function bareFunction(): void {}
