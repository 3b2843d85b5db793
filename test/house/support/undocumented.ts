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

/** Types whose members need no documentation, because users do not write them. */
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
