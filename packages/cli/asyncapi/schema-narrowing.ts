/**
 * Tells whether every value that matches one JSON Schema matches another: which messages written for the first a reader of the
 * second may refuse. Pure. Draft 07, as schema libraries write it. Parts that cannot be compared count as a difference with that
 * reason.
 */
import type { JsonObject } from './document-types.ts'
import { show } from './shorten-json.ts'

/** A reason why a value of `from` may be refused by `to`. */
export interface Narrowing {
  /** `lines[].sku`; empty: the whole. */
  readonly path: string
  readonly text: string
}

/** The document's own resolver for `$ref`. */
export type Resolve = (ref: string) => unknown

/** A schema of one document. */
export interface Sided {
  readonly schema: unknown
  readonly resolve: Resolve
}

/** Has no effect on validity. */
const ANNOTATIONS = new Set([
  '$schema',
  '$id',
  '$comment',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
])
/** Compared below; all others must be equal. */
const KNOWN = new Set([
  'type',
  'enum',
  'const',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'additionalItems',
  'anyOf',
  'oneOf',
  'minimum',
  'exclusiveMinimum',
  'minLength',
  'minItems',
  'minProperties',
  'maximum',
  'exclusiveMaximum',
  'maxLength',
  'maxItems',
  'maxProperties',
])
const LOWER = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties'] as const
const UPPER = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties'] as const

type Open = ReadonlySet<string>

const MOST_PAIRS = 5_000
const MOST_LEVELS = 200

/** Empty if every value that `from` allows matches `to`, as far as can be determined. */
export function narrowings(
  from: Sided,
  to: Sided,
  path: string = '',
  open: Open = new Set(),
  spent: { pairs: number } = { pairs: 0 },
): readonly Narrowing[] {
  // Nested alternatives multiply quickly.
  if (++spent.pairs > MOST_PAIRS || open.size > MOST_LEVELS) return [{ path, text: 'it is too large to be compared' }]
  const pair = JSON.stringify([from.schema, to.schema])
  // A recursive schema is compared once.
  if (open.has(pair)) return []
  const [a, b] = [resolved(from), resolved(to)]
  const below = new Set([...open, pair])
  const next = (one: unknown, other: unknown, at: string): readonly Narrowing[] =>
    narrowings({ ...from, schema: one }, { ...to, schema: other }, at, below, spent)
  if (b === true || a === false) return []
  if (b === false) return [{ path, text: 'nothing is allowed any more' }]
  const source: JsonObject = a === true ? {} : a
  const choices = alternatives(source)
  if (choices !== undefined) return choices.flatMap((choice) => next(choice, b, path))
  const wanted = alternatives(b)
  if (wanted !== undefined) {
    const found = wanted.map((choice) => next(source, choice, path))
    return found.some((reasons) => reasons.length === 0) ? [] : nearest(found, path)
  }
  const types = typeReasons(source, b, path)
  if (types.length > 0) return types
  return [
    ...valueReasons(source, b, path),
    ...boundReasons(source, b, path),
    ...objectReasons(source, b, path, next),
    ...itemReasons(source, b, path, next),
    ...otherReasons(source, b, path),
  ]
}

type Next = (one: unknown, other: unknown, at: string) => readonly Narrowing[]

/** The schema after resolving references; `true` if there is none. */
function resolved({ schema, resolve }: Sided): JsonObject | boolean {
  let at = schema
  for (let n = 0; n < 32; n++) {
    if (typeof at !== 'object' || at === null) return at !== false
    const { $ref } = at as JsonObject
    if (typeof $ref !== 'string') return at as JsonObject
    at = resolve($ref)
  }
  return true
}

/** Each alternative merged with the rest of the schema. `undefined` without alternatives. */
function alternatives(schema: JsonObject): readonly JsonObject[] | undefined {
  const { anyOf, oneOf, ...rest } = schema
  const list = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : undefined
  if (list === undefined || (anyOf !== undefined && oneOf !== undefined)) return undefined
  const beside = Object.keys(rest).some((key) => !ANNOTATIONS.has(key))
  return list.map((each) => (beside ? { ...(each as JsonObject), ...rest } : (each as JsonObject)))
}

/** For several alternatives, the reasons of the closest one. */
function nearest(found: ReadonlyArray<readonly Narrowing[]>, path: string): readonly Narrowing[] {
  const [best] = found.toSorted((one, other) => one.length - other.length)
  const isNear = best !== undefined && best.length === 1 && found.length === 1
  return isNear ? best : [{ path, text: 'it fits none of the alternatives any more' }]
}

function typesOf({ type, enum: values, const: value }: JsonObject): readonly string[] | undefined {
  if (type !== undefined) return Array.isArray(type) ? type.map(textOf) : [show(type).replaceAll('"', '')]
  const known = Array.isArray(values) ? values : value === undefined ? undefined : [value]
  return known?.map((each) => (each === null ? 'null' : Array.isArray(each) ? 'array' : typeof each))
}

function typeReasons(a: JsonObject, b: JsonObject, path: string): readonly Narrowing[] {
  const [before, after] = [typesOf(a), typesOf(b)]
  if (after === undefined) return []
  const refused = (before ?? ['anything']).filter(
    (type) => !after.includes(type) && !(type === 'integer' && after.includes('number')),
  )
  return refused.length === 0 ? [] : [{ path, text: `${refused.join(', ')} does not fit ${after.join(', ')}` }]
}

const listedIn = ({ enum: list, const: one }: JsonObject): readonly unknown[] | undefined =>
  Array.isArray(list) ? list : one === undefined ? undefined : [one]

function valueReasons(a: JsonObject, b: JsonObject, path: string): readonly Narrowing[] {
  const [before, after] = [listedIn(a), listedIn(b)]
  if (after === undefined) return []
  if (before === undefined) return [{ path, text: `anything does not fit ${JSON.stringify(after)}` }]
  const allowed = new Set(after.map((value) => JSON.stringify(value)))
  const refused = before.map((value) => JSON.stringify(value)).filter((value) => !allowed.has(value))
  return refused.length === 0 ? [] : [{ path, text: `${refused.join(', ')} is not one of ${JSON.stringify(after)}` }]
}

/** The implicit minimum of a length is 0; a number has none. */
const LEAST: JsonObject = { minLength: 0, minItems: 0, minProperties: 0 }

function boundReasons(a: JsonObject, b: JsonObject, path: string): readonly Narrowing[] {
  const listed = listedIn(a)
  if (listed !== undefined) return listedIn(b) === undefined ? beyondBounds(listed, b, path) : []
  const tightened = [
    ...LOWER.filter((name) => numberOf(b[name], -Infinity) > numberOf(a[name] ?? LEAST[name], -Infinity)),
    ...UPPER.filter((name) => numberOf(b[name], Infinity) < numberOf(a[name], Infinity)),
  ]
  return tightened.map((name) => ({
    path,
    text: `${name} is ${show(b[name])}, and was ${a[name] === undefined ? 'none' : show(a[name])}`,
  }))
}

/** Compares each listed value with the bounds. */
function beyondBounds(listed: readonly unknown[], b: JsonObject, path: string): readonly Narrowing[] {
  return [...LOWER, ...UPPER].flatMap((name) => {
    const bound = b[name]
    if (typeof bound !== 'number') return []
    const refused = listed.filter((value) => {
      const size = sizeOf(name, value)
      return size !== undefined && isBeyond(name, size, bound)
    })
    const said = refused.map((value) => JSON.stringify(value)).join(', ')
    return refused.length === 0 ? [] : [{ path, text: `${said} does not fit ${name} ${bound}` }]
  })
}

type Bound = (typeof LOWER)[number] | (typeof UPPER)[number]

function isBeyond(name: Bound, size: number, bound: number): boolean {
  if (name.startsWith('exclusive') && size === bound) return true
  return LOWER.some((lower) => lower === name) ? size < bound : size > bound
}

/** @returns `undefined` for a value that the bound does not limit */
function sizeOf(name: Bound, value: unknown): number | undefined {
  if (name.endsWith('Length')) return typeof value === 'string' ? Array.from(value).length : undefined
  if (name.endsWith('Items')) return Array.isArray(value) ? value.length : undefined
  if (name.endsWith('Properties')) return Array.isArray(value) ? undefined : sizeOfObject(value)
  return typeof value === 'number' ? value : undefined
}

const sizeOfObject = (value: unknown): number | undefined =>
  typeof value === 'object' && value !== null ? Object.keys(value).length : undefined

const numberOf = (value: unknown, otherwise: number): number => (typeof value === 'number' ? value : otherwise)

const record = (value: unknown): JsonObject =>
  typeof value === 'object' && value !== null ? (value as JsonObject) : {}
const names = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(textOf) : [])
const textOf = (value: unknown): string => (typeof value === 'string' ? value : show(value))
const under = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)

function objectReasons(a: JsonObject, b: JsonObject, path: string, next: Next): readonly Narrowing[] {
  const [before, after] = [record(a['properties']), record(b['properties'])]
  const always = new Set(names(a['required']))
  const missing = names(b['required']).filter((name) => !always.has(name))
  const others = b['additionalProperties']
  const isClosed = others === false
  const inside = Object.entries(before).flatMap(([name, schema]) => {
    if (Object.hasOwn(after, name)) return next(schema, after[name], under(path, name))
    if (isClosed) return [{ path: under(path, name), text: 'it is not allowed any more' }]
    return others === undefined || others === true ? [] : next(schema, others, under(path, name))
  })
  return [
    ...missing.map((name) => ({ path: under(path, name), text: 'it is required, and may be missing' })),
    ...inside,
    ...otherProperties(a, b, path, next),
  ]
}

function otherProperties(a: JsonObject, b: JsonObject, path: string, next: Next): readonly Narrowing[] {
  const [before = true, after = true] = [a['additionalProperties'], b['additionalProperties']]
  if (after === true || before === false) return []
  if (after === false) return [{ path, text: 'other properties are not allowed any more' }]
  return next(before, after, under(path, '*'))
}

function itemReasons(a: JsonObject, b: JsonObject, path: string, next: Next): readonly Narrowing[] {
  const [before = true, after = true] = [a['items'], b['items']]
  const at = `${path}[]`
  if (!Array.isArray(before) && !Array.isArray(after)) return after === true ? [] : next(before, after, at)
  const size = Math.max(Array.isArray(before) ? before.length : 0, Array.isArray(after) ? after.length : 0)
  const item = (schema: JsonObject, items: unknown, n: number): unknown =>
    Array.isArray(items) ? (n < items.length ? items[n] : (schema['additionalItems'] ?? true)) : items
  // The extra position represents all later items.
  return Array.from({ length: size + 1 }, (_, n) => n).flatMap((n) =>
    next(item(a, before, n), item(b, after, n), n < size ? `${path}[${n}]` : at),
  )
}

/** `pattern`, `format`, `multipleOf`, `allOf`, `not` and similar: they must be equal, because they cannot be compared. */
function otherReasons(a: JsonObject, b: JsonObject, path: string): readonly Narrowing[] {
  const keys = Object.keys(b).filter((key) => !KNOWN.has(key) && !ANNOTATIONS.has(key) && !key.startsWith('x-'))
  return keys.flatMap((key) => {
    const [before, after] = [JSON.stringify(a[key]), JSON.stringify(b[key])]
    if (before === after || (key === 'propertyNames' && after === '{"type":"string"}')) return []
    return [{ path, text: `${key} is ${after}, and was ${before ?? 'none'}` }]
  })
}
