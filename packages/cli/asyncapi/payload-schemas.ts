/**
 * JSON Schema of payloads, by the extension of Standard Schema that zod, arktype and others implement: no library is imported.
 * The definitions that the libraries put inside a schema (`definitions`) are moved to the document's components, because there
 * `#` is the whole document.
 *
 * @see https://standardschema.dev/json-schema
 */
import { hasMethods, toError } from 'concordat/extension'
import type { JsonObject } from './document-types.ts'

/** The used part of a Standard JSON Schema. */
interface Converter {
  readonly input: (options: { readonly target: string; readonly libraryOptions: JsonObject }) => JsonObject
}

const COMPONENTS = '#/components/schemas/'
/** Invented by zod for parts without a name: the same name means something else in the next schema. */
const NAMELESS = /^__schema\d+$/

/**
 * Returns the input form, which is the one on the wire.
 * @param schema a Standard Schema; the result is `undefined` if its library has no JSON Schema
 * @throws TypeError if the library cannot express it in JSON Schema
 */
export function jsonSchemaOf(path: string, schema: unknown): JsonObject | undefined {
  const standard = (schema as { readonly '~standard'?: { readonly jsonSchema?: unknown } } | undefined)?.['~standard']
  const converter = standard?.jsonSchema
  if (!hasMethods(converter, ['input'])) return undefined
  try {
    const options = { target: 'draft-07', libraryOptions: { unrepresentable: 'any' } }
    return (converter as unknown as Converter).input(options)
  } catch (error) {
    const why = toError(error).message
    throw new TypeError(`${path}: its schema cannot be said in JSON Schema (${why}). Give it by hand in \`schemas\`.`, {
      cause: error,
    })
  }
}

/** The schemas of a document's components, by name. */
export class Schemas {
  readonly #schemas = new Map<string, JsonObject>()
  /** The original schemas, to tell whether two with the same name are equal. */
  readonly #given = new Map<string, string>()
  readonly #reserved: ReadonlySet<string>

  /** @param reserved names that no part may have: those of the channels, and of the schemas of headers */
  constructor(reserved: Iterable<string>) {
    this.#reserved = new Set(reserved)
  }

  /** Adds a schema and its definitions. @returns a reference to it */
  add(name: string, root: JsonObject): { readonly $ref: string } {
    const { $schema: _, definitions, $defs, ...own } = root
    const below = { ...(definitions as JsonObject | undefined), ...($defs as JsonObject | undefined) }
    const names = this.#namesOf(name, below)
    this.#set(name, own, rewritten(own, name, names) as JsonObject)
    for (const [part, schema] of Object.entries(below)) {
      this.#set(names.get(part) as string, schema, rewritten(schema, name, names) as JsonObject)
    }
    return { $ref: `${COMPONENTS}${name}` }
  }

  /**
   * A part shares its name with the same part of another schema; if one differs, or has the name of a channel, all parts of this
   * schema get their own names.
   */
  #namesOf(name: string, below: JsonObject): ReadonlyMap<string, string> {
    const parts = Object.entries(below)
    const isOwn = new Set(Object.keys(below).map(legal)).size === parts.length
    const clashes = !isOwn || parts.some(([part, schema]) => this.#clashes(part, schema))
    const names = new Map<string, string>()
    const taken = new Set<string>()
    for (const [part] of parts) {
      const wanted = clashes ? `${name}.${legal(part)}` : legal(part)
      let free = wanted
      for (let n = 2; clashes && (taken.has(free) || this.#isTaken(free)); n++) free = `${wanted}.${n}`
      taken.add(free)
      names.set(part, free)
    }
    return names
  }

  #clashes(part: string, schema: unknown): boolean {
    const known = this.#given.get(legal(part))
    const isAnother = known !== undefined && known !== JSON.stringify(schema)
    return NAMELESS.test(part) || this.#reserved.has(legal(part)) || isAnother
  }

  #isTaken(name: string): boolean {
    return this.#reserved.has(name) || this.#schemas.has(name)
  }

  #set(name: string, given: unknown, schema: JsonObject): void {
    this.#given.set(name, JSON.stringify(given))
    this.#schemas.set(name, schema)
  }

  get(name: string): JsonObject | undefined {
    return this.#schemas.get(name)
  }

  all(): Readonly<Record<string, JsonObject>> {
    return Object.fromEntries([...this.#schemas].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }
}

const legal = (part: string): string => part.replaceAll(/[^\w.-]/g, '_') || '_'

function rewritten(value: unknown, root: string, names: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(value)) return value.map((each) => rewritten(each, root, names))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key,
      key === '$ref' && typeof each === 'string' ? reference(each, root, names) : rewritten(each, root, names),
    ]),
  )
}

function reference(given: string, root: string, names: ReadonlyMap<string, string>): string {
  if (!given.startsWith('#')) return given
  const [, pointer] = /^#\/(?:definitions|\$defs)\/(.*)$/s.exec(given) ?? []
  if (pointer === undefined) return `${COMPONENTS}${root}${given.slice(1)}`
  // Libraries write names unchanged, whatever characters they contain.
  const whole = names.get(pointer)
  if (whole !== undefined) return `${COMPONENTS}${whole}`
  const [part = '', ...rest] = pointer.split('/')
  const name = names.get(part) ?? names.get(unescaped(part))
  return name === undefined ? `${COMPONENTS}${root}${given.slice(1)}` : `${COMPONENTS}${[name, ...rest].join('/')}`
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return part
  }
}
