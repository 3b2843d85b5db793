/** Settings of a container from environment variables, checked before any connection opens. */
import { hostname } from 'node:os'
import { type ServiceName, serviceNames } from '../service-names.ts'

/** Missing or wrong variable. The message is one line with the remedy; the exit code is 2. */
export class SettingError extends Error {}

export interface Settings {
  readonly service: ServiceName
  /** Name of the container or pod, unique among running instances: leases, terms and members contain it. */
  readonly instance: string
  /** Name of the run, the same for all services that work together. */
  readonly runId: string
  readonly transport: 'kafka' | 'rabbitmq' | 'postgres'
  readonly broker: string
  readonly postgres: string
  readonly redis: string | undefined
  /** Port of the probes. */
  readonly port: number
  /** Maximum time from the signal to the exit, in ms. Must be below the grace period of Docker or Kubernetes. */
  readonly closeTimeoutMs: number
  readonly logLevel: string
}

type Environment = Readonly<Record<string, string | undefined>>

const TRANSPORTS = ['kafka', 'rabbitmq', 'postgres'] as const

/** Reads and checks the settings. @throws SettingError */
export function readSettings(environment: Environment): Settings {
  const transport = oneOf(environment, 'TRANSPORT', TRANSPORTS, 'rabbitmq')
  return {
    service: oneOf(environment, 'SERVICE', serviceNames),
    instance: matching(
      environment,
      'INSTANCE',
      /^[\w.-]{1,100}$/,
      '1 to 100 characters out of a-z A-Z 0-9 _ . -',
      hostname(),
    ),
    runId: matching(environment, 'RUN_ID', /^[a-z0-9_]{1,20}$/, '1 to 20 characters out of a-z 0-9 _', 'main'),
    transport,
    broker: brokerOf(environment, transport),
    postgres: address(environment, 'POSTGRES_URL', ['postgres:', 'postgresql:']),
    redis: transport === 'postgres' ? undefined : address(environment, 'REDIS_URL', ['redis:', 'rediss:']),
    port: whole(environment, 'PORT', 1, 65_535, 8080),
    closeTimeoutMs: whole(environment, 'CLOSE_TIMEOUT_MS', 1, 3_600_000, 30_000),
    logLevel: oneOf(environment, 'LOG_LEVEL', ['silent', 'error', 'warn', 'info', 'debug'], 'info'),
  }
}

function brokerOf(environment: Environment, transport: Settings['transport']): string {
  if (transport === 'postgres') return required(environment, 'POSTGRES_URL')
  if (transport === 'rabbitmq') return address(environment, 'RABBITMQ_URL', ['amqp:', 'amqps:'])
  return matching(
    environment,
    'KAFKA_BROKERS',
    /^[^\s:/,]+:\d{1,5}(,[^\s:/,]+:\d{1,5})*$/,
    'HOST:PORT, or several with commas',
  )
}

function required(environment: Environment, name: string): string {
  const value = environment[name]
  if (value !== undefined && value !== '') return value
  throw new SettingError(`${name} is not set: give the container its value, as compose.yaml does`)
}

/** Checks an address. The error does not show it, because it may contain a password. */
function address(environment: Environment, name: string, protocols: readonly string[]): string {
  const value = required(environment, name)
  if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return value
  throw new SettingError(`${name}: expected an address that begins with ${protocols.map((p) => `${p}//`).join(' or ')}`)
}

function oneOf<const T extends string>(
  environment: Environment,
  name: string,
  allowed: readonly T[],
  otherwise?: NoInfer<T>,
): T {
  const value = environment[name] || otherwise || required(environment, name)
  const found = allowed.find((candidate) => candidate === value)
  if (found !== undefined) return found
  throw new SettingError(`${name}: expected ${allowed.slice(0, -1).join(', ')} or ${allowed.at(-1)}, got "${value}"`)
}

function matching(environment: Environment, name: string, pattern: RegExp, what: string, otherwise?: string): string {
  const value = environment[name] || otherwise || required(environment, name)
  if (pattern.test(value)) return value
  throw new SettingError(`${name}: expected ${what}, got "${value}"`)
}

function whole(environment: Environment, name: string, min: number, max: number, otherwise: number): number {
  const text = environment[name]
  if (text === undefined || text === '') return otherwise
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new SettingError(`${name}: expected a whole number from ${min} to ${max}, got "${text}"`)
}
