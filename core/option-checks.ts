/** Run-time checks for callers without types: unknown names, values of another type. */
import { invalidOption } from './errors.ts'

/** Returns the names of the options `O`. The compiler refuses missing names and additional ones, except those from a spread. */
export function optionNames<O extends object>(names: Readonly<Record<keyof O, true>>): ReadonlySet<string> {
  return new Set(Object.keys(names))
}

/**
 * Refuses unknown options: a misspelt name would silently mean the default. Costs one lookup per given name.
 * @throws TypeError with `<path>.<name>`, the known names and the nearest of them
 */
export function refuseUnknown(path: string, options: unknown, known: ReadonlySet<string>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw wrongKind(path, options, 'an object of options')
  for (const name of Object.keys(options)) if (!known.has(name)) throw unknownName(`${path}.${name}`, name, known)
}

/** A `TypeError` for a name that is not in `known`: it lists the known names and suggests the nearest. */
export function unknownName(path: string, name: string, known: ReadonlySet<string>): TypeError {
  const { message } = invalidOption(path, name, `one of ${[...known].join(', ')}`)
  const near = [...known].find((candidate) => isNear(candidate.toLowerCase(), name.toLowerCase()))
  return new TypeError(near === undefined ? message : `${message}. Did you mean "${near}"?`)
}

/** Equal except for case, an ending, or one or two letters. */
function isNear(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  return (short.length >= 3 && long.startsWith(short)) || distance(short, long) <= Math.min(2, short.length / 3)
}

/** Number of letters to add, drop or change (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const change = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1)
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/**
 * Same as `invalidOption` for a value that may be large or contain a password, such as a pool or an address: describes its type
 * instead of its content. For a promise, mentions the missing `await`.
 */
export function wrongKind(path: string, value: unknown, expected: string): TypeError {
  return new TypeError(`${path}: expected ${expected}, got ${kindOf(value)}`)
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value)
  if (typeof value === 'function') return `the function ${value.name}`.trimEnd()
  if (typeof value !== 'object') return `a ${typeof value}`
  if (isThenable(value)) return 'a promise: is an "await" missing?'
  if (Array.isArray(value)) return 'an array'
  const name = value.constructor?.name ?? ''
  // Names of one or two letters come from a minifier.
  return name.length > 2 && name !== 'Object' ? `an instance of ${name}` : 'another object'
}

/** A promise of any library or realm. Called for each message: `hasMethods` would take four times as long. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  const mayHave = (typeof value === 'object' && value !== null) || typeof value === 'function'
  return mayHave && typeof (value as { then?: unknown }).then === 'function'
}

/** True if `value` is an object (or a class) with these methods. */
export function hasMethods<Name extends string>(
  value: unknown,
  names: readonly Name[],
): value is Readonly<Record<Name, (...values: never[]) => unknown>> {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  return names.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === 'function')
}

/** @param of function that creates an item. @throws TypeError with the name of the option; `undefined` is an empty list */
export function requireList<T>(path: string, list: readonly T[] | undefined, of: string): readonly T[] {
  if (list === undefined || Array.isArray(list)) return list ?? []
  throw wrongKind(path, list, `a list of what ${of} returned`)
}

/** Checks a boolean. @throws TypeError with the path */
export function requireBoolean(path: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw invalidOption(path, value, 'true or false')
}

/** Checks a function. @throws TypeError with the path */
export function requireFunction<T>(path: string, value: T): T {
  if (typeof value === 'function') return value
  throw wrongKind(path, value, 'a function')
}
