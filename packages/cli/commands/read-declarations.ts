/** Imports a user's module and reads the services that it exports. Nothing that it declares may start. */
import { access, readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SECOND } from 'concordat/core'
import { hasMethods, toError } from 'concordat/extension'
import { type Describable, readDeclarationsOnly } from 'concordat/operator'
import type { AsyncapiOptions } from '../asyncapi/options.ts'
import type { RabbitPlace } from '../engine-types.ts'
import { UsageError } from './command.ts'

/** Content of a module of declarations. */
export interface Declarations {
  readonly path: string
  readonly services: readonly Describable[]
  /** Its export `asyncapi`. */
  readonly document: Partial<Omit<AsyncapiOptions, 'services'>>
}

export const MODULE = 'MODULE'
const DEFAULTS = ['concordat.config.ts', 'concordat.config.mts', 'concordat.config.js', 'concordat.config.mjs']
const IMPORT_MS = 60 * SECOND

/**
 * @param given a path; `undefined` for `concordat.config.ts` (`.mts`, `.js`, `.mjs`) here
 * @throws UsageError when it cannot be read, starts something, or exports no service
 */
export async function readDeclarations(given: string | undefined): Promise<Declarations> {
  const path = resolve(given ?? (await configHere()) ?? missing())
  if (!(await exists(path))) throw new UsageError(`${given}: there is no such file`)
  const declarations = await declarationsIn(path)
  if (declarations.services.length === 0) {
    throw new UsageError(
      `${path} exports no service: export what createService returned, or a declaration such as { name, bindings, sends, sagas }`,
    )
  }
  return declarations
}

/** Declarations of `concordat.config.ts` here; `undefined` without the file, and when it exports no service. @throws UsageError */
export async function declarationsHere(): Promise<Declarations | undefined> {
  const file = await configHere()
  const found = file === undefined ? undefined : await declarationsIn(resolve(file))
  return found === undefined || found.services.length === 0 ? undefined : found
}

async function declarationsIn(path: string): Promise<Declarations> {
  const module = await imported(path)
  const values = new Set(Object.values(module).flatMap((value) => (Array.isArray(value) ? value : [value])))
  const { asyncapi } = module
  const document = typeof asyncapi === 'object' && asyncapi !== null ? asyncapi : {}
  return { path, services: [...values].filter(isDescribable), document }
}

/** Name and version of the package that a file belongs to. */
export async function packageOf(path: string): Promise<{ readonly name: string; readonly version: string }> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => undefined)
    const { name, version } = JSON.parse(text ?? '{}') as { readonly name?: string; readonly version?: string }
    if (name !== undefined) return { name, version: version ?? '0.0.0' }
    if (dirname(folder) === folder) return { name: 'services', version: '0.0.0' }
  }
}

function missing(): never {
  throw new UsageError(`this needs ${MODULE}: a file that exports services, such as ${DEFAULTS[0]}`)
}

async function configHere(): Promise<string | undefined> {
  for (const name of DEFAULTS) if (await exists(resolve(name))) return name
  return undefined
}

/** The export `addresses` of `concordat.config.ts` here, with its file. @throws UsageError when it cannot be read */
export async function readAddresses(): Promise<{ readonly file: string; readonly addresses: unknown } | undefined> {
  const file = await configHere()
  return file === undefined ? undefined : { file, addresses: (await imported(resolve(file)))['addresses'] }
}

/** Names at the broker that differ from those derived from channel and group, as in the options of the transports. */
export interface BrokerNames {
  readonly groupIds?: Readonly<Record<string, Readonly<Record<string, string>>>> | undefined
  readonly places?: Readonly<Record<string, RabbitPlace>> | undefined
}

/** The exports `groupIds` and `places` of a module; of `concordat.config.ts` here without one. @throws UsageError when it cannot be read */
export async function readBrokerNames(given: string | undefined): Promise<BrokerNames> {
  const file = given ?? (await configHere())
  if (file === undefined || !(await exists(resolve(file)))) return {}
  const { groupIds, places } = await imported(resolve(file))
  for (const [name, value] of Object.entries({ groupIds, places }))
    if (value !== undefined && (typeof value !== 'object' || value === null))
      throw new UsageError(`${file}: expected ${name} as the option of the transport`)
  return { groupIds, places } as BrokerNames
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

async function imported(path: string): Promise<Readonly<Record<string, unknown>>> {
  readDeclarationsOnly()
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error('it is not read to its end: what does it wait for?')), IMPORT_MS)
  try {
    return (await Promise.race([import(pathToFileURL(path).href), late])) as Readonly<Record<string, unknown>>
  } catch (error) {
    throw new UsageError(`${path}: ${REMEDIES[String((error as { code?: unknown }).code)] ?? toError(error).message}`)
  } finally {
    clearTimeout(timer)
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX: 'Node reads TypeScript that can be erased only: no enum, no parameter properties',
  ERR_UNKNOWN_FILE_EXTENSION: `this Node (${process.version}) reads no TypeScript: 22.18 and later do`,
}

function isDescribable(value: unknown): value is Describable {
  const { name } = (value ?? {}) as { readonly name?: unknown }
  if (typeof value !== 'object' || value === null || typeof name !== 'string') return false
  return hasMethods(value, ['describe']) || DECLARED.some((key) => key in value)
}

const DECLARED = ['bindings', 'sends', 'sagas', 'leads', 'schedules'] as const
