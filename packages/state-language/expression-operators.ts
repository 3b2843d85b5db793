/** Operators and methods of expressions on JSON values. Never calls a method of the value itself. */

type Operator = (left: unknown, right: unknown) => unknown

export const OPERATORS: Readonly<Record<string, Operator>> = {
  '==': (left, right) => isSame(left, right),
  '!=': (left, right) => !isSame(left, right),
  '<': (left, right) => compared('<', left, right) < 0,
  '<=': (left, right) => compared('<=', left, right) <= 0,
  '>': (left, right) => compared('>', left, right) > 0,
  '>=': (left, right) => compared('>=', left, right) >= 0,
  '+': (left, right) =>
    typeof left === 'string' || typeof right === 'string'
      ? `${textOf(left)}${textOf(right)}`
      : numeric('+', left, right, (a, b) => a + b),
  '-': (left, right) => numeric('-', left, right, (a, b) => a - b),
  '*': (left, right) => numeric('*', left, right, (a, b) => a * b),
  '/': (left, right) => numeric('/', left, right, (a, b) => a / b),
  '%': (left, right) => numeric('%', left, right, (a, b) => a % b),
}

type Method = (on: unknown, given: readonly unknown[]) => unknown

/** By name: methods that may be called on a value, and their number of arguments. */
export const METHODS: Readonly<Record<string, { readonly takes: number; readonly run: Method }>> = {
  size: { takes: 0, run: (on) => sizeOf(on) },
  length: { takes: 0, run: (on) => sizeOf(on) },
  isEmpty: { takes: 0, run: (on) => sizeOf(on) === 0 },
  equals: { takes: 1, run: (on, [other]) => isSame(on, other) },
  get: { takes: 1, run: (on, [key]) => member(on, key) },
  containsKey: { takes: 1, run: (on, [key]) => isRecord(on) && Object.hasOwn(on, textOf(key)) },
  contains: {
    takes: 1,
    run: (on, [other]) =>
      Array.isArray(on) ? on.some((each) => isSame(each, other)) : typeof on === 'string' && on.includes(textOf(other)),
  },
  startsWith: { takes: 1, run: (on, [other]) => typeof on === 'string' && on.startsWith(textOf(other)) },
  endsWith: { takes: 1, run: (on, [other]) => typeof on === 'string' && on.endsWith(textOf(other)) },
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * A member by its name or index; `null` without it.
 * @param named name for the message, for a key that is a value may be a secret
 * @throws TypeError for a member of `null`
 */
export function member(on: unknown, key: unknown, named: string = 'member'): unknown {
  if (on === null || on === undefined) throw new TypeError(`there is no ${named} of null`)
  if (Array.isArray(on)) return on[Number(key)] ?? null
  const name = textOf(key)
  return isRecord(on) && Object.hasOwn(on, name) ? (on[name] ?? null) : null
}

/**
 * @throws TypeError: a condition must be true or false, as in Seata
 */
export function truth(operator: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new TypeError(`"${operator}" takes true or false, got ${kindOf(value)}`)
}

function isSame(left: unknown, right: unknown): boolean {
  if (left === null || left === undefined) return right === null || right === undefined
  if (typeof left !== 'object' || typeof right !== 'object' || right === null) return left === right
  return canonicalJson(left) === canonicalJson(right)
}

function compared(operator: string, left: unknown, right: unknown): number {
  if (typeof left === 'number' && typeof right === 'number') return left - right
  if (typeof left === 'string' && typeof right === 'string') return left < right ? -1 : left > right ? 1 : 0
  throw new TypeError(`"${operator}" takes two numbers or two texts, got ${kindOf(left)} and ${kindOf(right)}`)
}

function numeric(operator: string, left: unknown, right: unknown, run: (a: number, b: number) => number): number {
  if (typeof left === 'number' && typeof right === 'number') return run(left, right)
  throw new TypeError(`"${operator}" takes two numbers, got ${kindOf(left)} and ${kindOf(right)}`)
}

function sizeOf(on: unknown): number {
  if (typeof on === 'string' || Array.isArray(on)) return on.length
  if (isRecord(on)) return Object.keys(on).length
  throw new TypeError(`size() is of a list, an object or a text, got ${kindOf(on)}`)
}

/** JSON with sorted keys: equal values give equal text. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (!isRecord(value)) return JSON.stringify(value) ?? 'null'
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`
}

/** Renders an object to the same text in any order of its members, since the database changes that order. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : canonicalJson(value)
}

/** Description of a value for messages: the value itself may be a secret. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'string') return 'a text'
  return typeof value === 'number' ? 'a number' : typeof value === 'boolean' ? 'true or false' : 'an object'
}
