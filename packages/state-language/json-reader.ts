/** Reads a JSON object attribute by attribute, and refuses wrong and unknown ones with their path. */
import { invalidOption } from 'concordat/extension'
import { isRecord } from './expression-operators.ts'

export class JsonReader {
  readonly path: string
  readonly #object: Readonly<Record<string, unknown>>

  /**
   * @throws TypeError when it is no object, or has an attribute that is not in `known`
   */
  constructor(path: string, value: unknown, known: readonly string[]) {
    if (!isRecord(value)) throw invalidOption(path, value, 'a JSON object')
    this.path = path
    this.#object = value
    for (const name of Object.keys(value)) {
      if (known.includes(name)) continue
      throw new TypeError(`${path}.${name}: this attribute is not taken over. Known here: ${known.join(', ')}`)
    }
  }

  has(name: string): boolean {
    return this.#object[name] !== undefined && this.#object[name] !== null
  }

  raw(name: string): unknown {
    return this.#object[name] ?? undefined
  }

  /** @throws as `optionalText`, also when it is missing */
  text(name: string): string {
    return this.optionalText(name) ?? this.wrong(name, 'a text')
  }

  /** An empty text counts as missing. @throws TypeError */
  optionalText(name: string): string | undefined {
    const value = this.raw(name)
    if (value === undefined || value === '') return undefined
    return typeof value === 'string' ? value : this.wrong(name, 'a text')
  }

  flag(name: string): boolean {
    const value = this.raw(name)
    return value === undefined || typeof value === 'boolean' ? value === true : this.wrong(name, 'true or false')
  }

  /** @throws RangeError / TypeError for one that is not at least `least` */
  number(name: string, otherwise: number | undefined, least: number, whole = false): number {
    const value = this.raw(name) ?? otherwise
    const fits = typeof value === 'number' && value >= least && value <= MAX && (!whole || Number.isSafeInteger(value))
    return fits ? value : this.wrong(name, `a ${whole ? 'whole ' : ''}number from ${least} to ${MAX}`)
  }

  /** @throws TypeError */
  list(name: string): readonly unknown[] {
    const value = this.raw(name) ?? []
    return Array.isArray(value) ? value : this.wrong(name, 'a list')
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((each, n) =>
      typeof each === 'string' ? each : this.wrong(`${name}[${n}]`, 'a text', each),
    )
  }

  /** In their order in the JSON. @throws TypeError */
  entries(name: string): ReadonlyArray<readonly [string, unknown]> {
    const value = this.raw(name) ?? {}
    return isRecord(value) ? Object.entries(value) : this.wrong(name, 'an object')
  }

  /**
   * @throws SyntaxError of `parse`, with the path before its message
   */
  parsed<T>(name: string, parse: () => T): T {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      throw new TypeError(
        `${this.path}.${name}: ${error.message}. See docs/transactions/state-language.md for the expressions that are taken over`,
      )
    }
  }

  wrong(name: string, expected: string, value: unknown = this.raw(name)): never {
    throw invalidOption(`${this.path}.${name}`, value, expected)
  }
}

const MAX = 1_000_000_000
