/** Contract of a fuzz target: a place where the package reads foreign data, and its promise there. */
import type { Tape } from './tape.ts'

/** A fuzz target. Each is a small file below `targets/`. */
export interface Target {
  readonly name: string
  /** Line for `--help`. */
  readonly about: string
  /** Makes an input from the tape. The same tape makes the same input. */
  readonly input: (tape: Tape) => unknown
  /** Gives the input to the package. @throws the package's error, or `Broken` when a promise does not hold */
  readonly run: (input: never) => unknown
  /** Numbers on a tape, at most. @default 96 */
  readonly longest?: number | undefined
  /** True: `run` returns promises. */
  readonly isAsync?: boolean | undefined
  /** Errors that are promised here beside those with a `code`. @default none */
  readonly refuses?: ((error: Error) => boolean) | undefined
}

/** A target with the type of its inputs. */
export interface TypedTarget<T> extends Omit<Target, 'input' | 'run'> {
  readonly input: (tape: Tape) => T
  readonly run: (input: T) => unknown
}

export function target<T>(given: TypedTarget<T>): Target {
  return given
}

/** A promise of the package that did not hold for an input. */
export class Broken extends Error {}

/** @throws Broken */
export function check(holds: boolean, promise: string): void {
  if (!holds) throw new Broken(promise)
}

const CODE = /^[a-z0-9]+(?:\.[a-z0-9_]+)+$/

/** The stable code of an error of the package. */
export function isTyped(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && CODE.test(error.code)
}

/** Matches messages of JavaScript's own errors, which no check of the package writes. */
const INTERNAL =
  /Cannot (?:read|set|convert|destructure|access)|is not (?:a function|iterable|a constructor|defined|extensible)|undefined|call stack|Invalid (?:array|string|time|typed|count)|circular|has only a getter|in operator|Unexpected (?:token|end)|URI malformed/

/** Whether a text for people contains a message of a JavaScript error. */
export function saysInternal(text: string): boolean {
  return INTERNAL.test(text)
}

/** A wrong option or argument: `path: expected ..., got ...`, or another sentence that names the place. */
export function isWrongArgument(error: Error): boolean {
  if (!(error instanceof TypeError || error instanceof RangeError)) return false
  const text = error.message
  return /: expected /.test(text) || (/^[^:]+: /.test(text) && !INTERNAL.test(text))
}
