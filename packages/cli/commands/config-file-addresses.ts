/** Addresses from `concordat.config.ts`, when no database is given otherwise. */
import { UsageError, type Values } from './command.ts'
import { readAddresses } from './read-declarations.ts'
import { text } from './values.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Known addresses, and their origin. */
export interface KnownAddresses {
  readonly env: Environment
  /** The same error, naming the file instead of an unset variable. */
  readonly told: (error: unknown) => unknown
}

const ADDRESSES = ['postgres', 'kafka', 'rabbitmq', 'redis', 'mysql'] as const
const DATABASE = ['CONCORDAT_POSTGRES', 'PGHOST', 'PGDATABASE', 'PGUSER', 'PGPORT']

/**
 * Reads the file only if neither the command line nor the environment names a database: the file is a program, and it must not
 * direct a command elsewhere.
 * @throws UsageError when it cannot be read, or has unknown addresses
 */
export async function knownAddresses(values: Values, env: Environment): Promise<KnownAddresses> {
  const given = { env, told: (error: unknown) => error }
  if (text(values, 'postgres') !== undefined || DATABASE.some((name) => env[name])) return given
  const read = await readAddresses()
  if (read?.addresses === undefined) return given
  const { file, addresses } = read
  const found = addressesIn(file, addresses).map(([name, value]) => [variableOf(name), { name, value }] as const)
  const own = found.filter(([variable]) => !env[variable])
  return {
    env: { ...env, ...Object.fromEntries(own.map(([variable, { value }]) => [variable, value])) },
    told: (error) => {
      if (!(error instanceof Error)) return error
      for (const [variable, { name }] of own)
        error.message = error.message.replaceAll(variable, `addresses.${name} in ${file}`)
      return error
    },
  }
}

function addressesIn(file: string, addresses: unknown): ReadonlyArray<readonly [name: string, value: string]> {
  const expected = `${file}: expected addresses as { ${ADDRESSES.map((name) => `${name}?`).join(', ')} }, each a text`
  if (typeof addresses !== 'object' || addresses === null) throw new UsageError(expected)
  return Object.entries(addresses).flatMap(([name, value]: [string, unknown]) => {
    if (!(ADDRESSES as readonly string[]).includes(name)) throw new UsageError(`${expected}; it has "${name}"`)
    if (value === undefined || value === '') return []
    if (typeof value !== 'string') throw new UsageError(`${expected}; "${name}" is none`)
    return [[name, value] as const]
  })
}

function variableOf(name: string): string {
  return `CONCORDAT_${name.toUpperCase()}`
}
