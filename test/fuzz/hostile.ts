/**
 * Inputs of an attacker. Each begins with something valid, mostly the output of our own encoder, and is changed a few
 * times. All choices are numbers from a tape, so that a failing input shrinks to the fewest changes.
 */
import { NAMES, TEXTS, VALUES } from './nasty.ts'
import type { Tape } from './tape.ts'

type Change = readonly [kind: number, where: number, what: number]

/** Number of changes to a sample: mostly none, since an input has many parts. */
const TIMES = [0, 0, 0, 1, 0, 1, 0, 2, 4] as const

function changed<T>(tape: Tape, samples: readonly T[], change: (value: T, by: Change) => T): T {
  let value = tape.pick(samples)
  for (let times = tape.pick(TIMES); times > 0; times--) value = change(value, [tape.any(), tape.any(), tape.any()])
  return value
}

const at = <T>(list: readonly T[], n: number): T => list[n % list.length] as T

/** Text: one of the samples, cut, doubled, bent, or another. */
export function hostileText(tape: Tape, ...samples: readonly string[]): string {
  return changed(tape, samples, bentText)
}

function bentText(text: string, [kind, where, what]: Change): string {
  const place = where % (text.length + 1)
  switch (kind % 8) {
    case 0:
      return text.slice(0, place) + at(TEXTS, what) + text.slice(place)
    case 1:
      return text.slice(0, place)
    case 2:
      return at(TEXTS, what)
    case 3:
      return text.slice(0, place) + String.fromCharCode(what % 0x1_0000) + text.slice(place + 1)
    case 4:
      return text.slice(0, place) + text.slice(place + 1 + (what % 8))
    case 5:
      return text.length > 100_000 ? text : text.repeat(1 + (what % 3))
    case 6:
      return text.slice(0, place) + (JSON.stringify(at(VALUES, what)) ?? '') + text.slice(place + (what % 4))
    default:
      return text.slice(place) + text.slice(0, place)
  }
}

/** Bytes: one of the samples with bits flipped, cut, spliced; or any. */
export function hostileBytes(tape: Tape, ...samples: ReadonlyArray<Uint8Array | string>): Buffer {
  if (tape.once(12)) return Buffer.from(Array.from({ length: tape.below(24) }, () => tape.below(256)))
  return changed(tape, samples.map(bytesOf), bentBytes)
}

const KNOWN = new Map<string, Buffer>()

function bytesOf(sample: Uint8Array | string): Buffer {
  if (Buffer.isBuffer(sample)) return sample
  if (typeof sample !== 'string') return Buffer.from(sample)
  const known = KNOWN.get(sample) ?? Buffer.from(sample)
  if (KNOWN.size < 1_000) KNOWN.set(sample, known)
  return known
}

function bentBytes(bytes: Buffer, [kind, where, what]: Change): Buffer {
  const place = where % (bytes.length + 1)
  switch (kind % 7) {
    case 0: {
      const copy = Buffer.from(bytes)
      if (place < copy.length) copy[place] = (copy[place] as number) ^ (1 << (what % 8))
      return copy
    }
    case 1:
      return bytes.subarray(0, place)
    case 2: {
      const copy = Buffer.from(bytes)
      if (place < copy.length) copy[place] = what % 256
      return copy
    }
    case 3:
      return Buffer.concat([bytes.subarray(0, place), Buffer.from(at(TEXTS, what)), bytes.subarray(place)])
    case 4:
      return Buffer.concat([bytes.subarray(0, place), Buffer.alloc(1 + (what % 9), what), bytes.subarray(place)])
    case 5:
      return Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1 + (what % 8))])
    default:
      return bytes.length > 100_000 ? bytes : Buffer.concat([bytes, bytes.subarray(place)])
  }
}

/** A value of JSON, each part of the wrong kind at times. `__proto__` is an own property. */
export function hostileJson(tape: Tape, ...samples: readonly unknown[]): unknown {
  return changed(tape, samples, bentValue)
}

/** Goes down to a part of the value and changes that. */
function bentValue(value: unknown, [kind, where, what]: Change): unknown {
  const parts = typeof value === 'object' && value !== null ? Object.keys(value) : []
  const stop = where % (parts.length + 1)
  if (stop < parts.length && !(value instanceof Uint8Array)) {
    const further: Change = [kind, Math.floor(where / (parts.length + 1)), what]
    return replaced(value as object, parts[stop] as string, (part) => bentValue(part, further))
  }
  return bentHere(value, kind, what)
}

function bentHere(value: unknown, kind: number, what: number): unknown {
  const name = at(NAMES, what)
  switch (kind % 8) {
    case 1:
      return typeof value === 'string' ? bentText(value, [what, what >>> 3, what >>> 6]) : at(TEXTS, what)
    case 2:
      return Array.isArray(value) ? [...value, ...value] : [value]
    case 3:
      return { [name]: value, value: at(VALUES, what >>> 4) }
    case 4:
      return without(value, what)
    case 5:
      return withName(value, name, at(VALUES, what >>> 4))
    case 6:
      return renamed(value, what, name)
    default:
      return at(VALUES, what)
  }
}

function replaced(value: object, key: string, change: (part: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((part: unknown, n) => (String(n) === key ? change(part) : part))
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, name === key ? change(part) : part]))
}

function without(value: unknown, what: number): unknown {
  if (Array.isArray(value)) return value.filter((_, n) => n !== what % value.length)
  if (typeof value !== 'object' || value === null) return null
  const entries = Object.entries(value)
  return Object.fromEntries(entries.filter((_, n) => n !== what % entries.length))
}

function withName(value: unknown, name: string, part: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return Object.fromEntries([[name, part]])
  return Object.fromEntries([...Object.entries(value), [name, part]])
}

function renamed(value: unknown, what: number, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const entries = Object.entries(value)
  return Object.fromEntries(entries.map(([key, part], n) => [n === what % entries.length ? name : key, part]))
}

const LITERALS = [
  'NaN',
  '-Infinity',
  '1e999',
  '-0',
  '9'.repeat(400),
  '1e-400',
  '{',
  ']',
  '"',
  '\\',
  'undefined',
  '\0',
  '"\\ud800"',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toString":"x","valueOf":1}',
  '{"a":1,"a":2}',
  '"\\u0000"',
  '{"type":"Buffer","data":["x"]}',
  '{"$bytes":1}',
  '{"$number":"x"}',
  '-1',
  '1e308',
]
const DEEP = [50, 1_000, 7_000, 12_000].flatMap((levels) => [
  '['.repeat(levels) + ']'.repeat(levels),
  '{"a":'.repeat(levels) + '1' + '}'.repeat(levels),
])

/** JSON as text: what `hostileJson` makes, and what no value of JavaScript can be: doubled keys, deep nesting, cuts. */
export function hostileJsonText(tape: Tape, ...samples: readonly unknown[]): string {
  let text = JSON.stringify(hostileJson(tape, ...samples)) ?? ''
  for (let times = tape.pick(TWISTS); times > 0; times--) text = twisted(text, [tape.any(), tape.any(), tape.any()])
  return text
}

const TWISTS = [0, 0, 1, 1, 2] as const

function twisted(text: string, [kind, where, what]: Change): string {
  const literal = kind % 32 === 31 ? at(DEEP, what) : at(LITERALS, what)
  switch (kind % 6) {
    case 1:
      return literalAt(text, where, literal)
    case 2:
      return text.slice(0, where % (text.length + 1))
    case 3:
      return doubledKey(text, where, literal)
    case 4:
      return bentText(text, [what, where, what >>> 4])
    default:
      return literalAt(text, where, literal)
  }
}

/** Puts the literal in the place of a value, which stays behind it under another name. */
function literalAt(text: string, where: number, literal: string): string {
  const colons = [...text.matchAll(/":/g)]
  if (colons.length === 0) return literal
  const place = (colons[where % colons.length]?.index ?? 0) + 2
  return `${text.slice(0, place)}${literal},"x":${text.slice(place)}`
}

function doubledKey(text: string, where: number, literal: string): string {
  const keys = [...text.matchAll(/"[^"\\]{0,64}":/g)]
  if (keys.length === 0) return text
  const { 0: key, index } = at(keys, where)
  return `${text.slice(0, index)}${key}${literal},${text.slice(index)}`
}

/** A map with some of these entries, changed, and with names that objects have by themselves. */
export function hostileMap<T>(
  tape: Tape,
  samples: Readonly<Record<string, T>>,
  value: (tape: Tape, sample: T | undefined) => T,
): Readonly<Record<string, T>> {
  const names = Object.keys(samples)
  const entries = names.flatMap((name) => (tape.once(8) ? [] : [[name, value(tape, samples[name])] as const]))
  for (let more = tape.pick(TIMES); more > 0; more--) {
    const name = tape.once(4) ? tape.pick(names) : tape.pick(NAMES)
    entries.push([name, value(tape, undefined)])
  }
  return Object.fromEntries(entries)
}
