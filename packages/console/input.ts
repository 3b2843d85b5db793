/** Reads requests: limited in size, with each field of the required type. */
import { invalidOption, requireText } from 'concordat/extension'
import { Problem } from './problem.ts'

/** Names of a thousand sagas or dead letters. */
const MAX_BODY_BYTES = 1_024 * 1_024

/** @throws Problem 413, 422 */
export async function readBody(request: Request): Promise<Fields> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength
    if (size > MAX_BODY_BYTES) throw new Problem(413, 'console.too_large', `over ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  let value: unknown
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new Problem(422, 'console.input', 'the body: expected JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Problem(422, 'console.input', 'the body: expected a JSON object')
  return new Fields(value as Readonly<Record<string, unknown>>)
}

export function queryOf(url: string): Fields {
  return new Fields(Object.fromEntries(new URL(url).searchParams))
}

/** Databases accept no NUL in parameters. */
function storable(name: string, text: string): string {
  if (text.includes('\0')) throw invalidOption(name, text, 'a text without NUL')
  return text
}

/**
 * Fields of a body, or of a query, where all values are text. Each getter throws a TypeError or RangeError with the name of the
 * field.
 */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values
  }

  text(name: string): string {
    return storable(name, requireText(name, this.#own(name)))
  }

  optionalText(name: string): string | undefined {
    const value = this.#own(name)
    return value === undefined || value === null || value === '' ? undefined : storable(name, requireText(name, value))
  }

  /** At most `max`, because a list is one page. */
  count(name: string, max: number, otherwise: number): number {
    return this.optionalCount(name, max) ?? otherwise
  }

  optionalCount(name: string, max: number, min = 1): number | undefined {
    const value = this.#own(name)
    if (value === undefined || value === null || value === '') return undefined
    const count = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
    if (typeof count === 'number' && Number.isSafeInteger(count) && count >= min && count <= max) return count
    throw invalidOption(name, value, `a whole number from ${min} to ${max}`)
  }

  oneOf<const T extends string>(name: string, values: readonly T[], otherwise?: T): T {
    const value = this.#own(name) ?? otherwise
    const found = values.find((each) => each === value)
    if (found !== undefined) return found
    throw invalidOption(name, value, `one of ${values.join(', ')}`)
  }

  /** Anything but an explicit `false` is a dry run. */
  get isDryRun(): boolean {
    return this.#own('dryRun') !== false
  }

  object(name: string): Fields {
    const value = this.#own(name) ?? {}
    if (typeof value === 'object' && !Array.isArray(value))
      return new Fields(value as Readonly<Record<string, unknown>>)
    throw invalidOption(name, value, 'an object')
  }

  /** @returns `undefined` without the field */
  optionalList(name: string, max: number): readonly unknown[] | undefined {
    const value = this.#own(name)
    if (value === undefined || value === null) return undefined
    if (Array.isArray(value) && value.length <= max) return value
    throw invalidOption(name, value, `a list of at most ${max}`)
  }

  has(name: string): boolean {
    return this.#own(name) !== undefined
  }

  /** The unchecked value. */
  raw(name: string): unknown {
    return this.#own(name)
  }

  #own(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined
  }
}
