/** Parses the command line into options, or into an error of one line. */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'

/** Wrong flag or input file, or an unreachable server. The message is one line with the remedy; the exit code is 2. */
export class UsageError extends Error {}

export type TransportName = 'memory' | 'kafka' | 'rabbitmq' | 'postgres'

export interface Files {
  /** Path of the file, or `-` for standard input. `undefined` selects the bundled file. */
  readonly orders: string | undefined
  readonly accounts: string | undefined
  readonly stock: string | undefined
}

export interface EmbeddedOptions {
  readonly mode: 'embedded'
  /** Folder of the database. `undefined` keeps the database in memory. */
  readonly data: string | undefined
}

export interface DistributedOptions {
  readonly mode: 'distributed'
  readonly transport: 'kafka' | 'rabbitmq' | 'postgres'
  /** `host:port,...` for Kafka, `amqp://...` for RabbitMQ, the database URL for PostgreSQL. */
  readonly broker: string
  readonly postgres: string
  /** URL of Redis; `undefined` with `--transport postgres`. */
  readonly redis: string | undefined
  /** Operating system processes per service. */
  readonly processes: number
  readonly kill: number
  readonly seed: number
  readonly runId: string
  /** Keeps tables, topics and queues after the run. */
  readonly keep: boolean
  /** Uses services that run elsewhere, in containers. The run neither starts nor stops them. */
  readonly attach: boolean
}

export interface CommonOptions {
  readonly files: Files
  readonly report: string | undefined
  /** Number of admitted orders at which the operator pauses the payments; `undefined`: never. */
  readonly pausePaymentsAt: number | undefined
  readonly logLevel: string
}

export type Options = CommonOptions & (EmbeddedOptions | DistributedOptions)

export const USAGE = `npm start -- [options]

  --orders FILE      orders, one JSON object per line; '-' reads standard input  (default: the bundled 500)
  --accounts FILE    opening balances {"customer": cents}   (default: accounts.json next to the orders, else bundled)
  --stock FILE       opening stock {"sku": units}           (default: stock.json next to the orders, else bundled)
  --report FILE      writes the report as JSON
  --pause-payments-at N  an operator pauses the payments over the bus after N admitted orders, then resumes them
  --data DIR         embedded, with the database on disk: a run that was killed with kill -9 resumes when started again

  --transport NAME   memory (default): everything in one process. With a broker, each service has its own processes:
                     kafka     --kafka HOST:PORT --postgres URL --redis URL
                     rabbitmq  --rabbitmq URL --postgres URL --redis URL
                     postgres  --postgres URL: PostgreSQL is broker, lock store and shared state as well
  --processes N      processes per service, 1 to 8  (default: 1)
  --kill N           kills N service processes with SIGKILL during the run and restarts each of them
  --seed N           chooses the victims and the moments  (default: 1)
  --run-id NAME      names the schemas, topics and queues of this run  (default: random)
  --keep             keeps them after the run, for inspection
  --attach           sends the orders to the services of --run-id, which run in containers; starts and removes nothing

  --log-level LEVEL  silent, error (default), warn, info or debug; logs go to standard error
  --help
`

const TEXT = { type: 'string' } as const
const FLAGS = {
  orders: TEXT,
  accounts: TEXT,
  stock: TEXT,
  report: TEXT,
  'pause-payments-at': TEXT,
  data: TEXT,
  transport: TEXT,
  kafka: TEXT,
  rabbitmq: TEXT,
  postgres: TEXT,
  redis: TEXT,
  processes: TEXT,
  kill: TEXT,
  seed: TEXT,
  'run-id': TEXT,
  keep: { type: 'boolean' },
  attach: { type: 'boolean' },
  'log-level': TEXT,
  help: { type: 'boolean' },
} as const

type Values = { readonly [K in keyof typeof FLAGS]?: (typeof FLAGS)[K]['type'] extends 'boolean' ? boolean : string }

/** @throws UsageError */
export function parseOptions(argv: readonly string[]): Options | 'help' {
  const values = parseFlags(argv)
  if (values.help === true) return 'help'
  for (const [flag, value] of Object.entries(values)) {
    if (value === '') throw new UsageError(`--${flag} is empty: give it a value or leave it out`)
  }
  const common: CommonOptions = {
    files: { orders: values.orders, accounts: values.accounts, stock: values.stock },
    report: values.report,
    pausePaymentsAt: optionalWhole('pause-payments-at', values['pause-payments-at'], 0, 1_000_000_000),
    logLevel: oneOf('log-level', values['log-level'] ?? 'error', ['silent', 'error', 'warn', 'info', 'debug']),
  }
  const transport = oneOf('transport', values.transport ?? 'memory', ['memory', 'kafka', 'rabbitmq', 'postgres'])
  return { ...common, ...(transport === 'memory' ? embedded(values) : distributed(transport, values)) }
}

function parseFlags(argv: readonly string[]): Values {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, strict: true, allowPositionals: false }).values
  } catch (error) {
    const message = error instanceof Error ? (error.message.split(/\.(?:\s|$)/)[0] ?? '') : String(error)
    throw new UsageError(`${message}: see npm start -- --help`)
  }
}

function embedded(values: Values): EmbeddedOptions {
  for (const flag of [
    'kafka',
    'rabbitmq',
    'postgres',
    'redis',
    'processes',
    'kill',
    'seed',
    'run-id',
    'keep',
    'attach',
  ] as const) {
    if (values[flag] !== undefined)
      throw new UsageError(
        `--${flag} needs --transport kafka, rabbitmq or postgres: without it everything runs in one process`,
      )
  }
  return { mode: 'embedded', data: values.data }
}

function distributed(transport: DistributedOptions['transport'], values: Values): DistributedOptions {
  for (const other of (['kafka', 'rabbitmq', 'redis'] as const).filter((flag) => !NEEDS[transport].includes(flag)))
    if (values[other] !== undefined)
      throw new UsageError(`--${other} does not go with --transport ${transport}: drop one`)
  if (values.data !== undefined)
    throw new UsageError('--data is for the embedded run: with a broker the data is in --postgres, drop --data')
  const attach = values.attach ?? false
  if (attach) requireAttachable(values)
  return {
    mode: 'distributed',
    transport,
    broker: brokerOf(transport, values),
    postgres: databaseOf(values, transport),
    redis:
      transport === 'postgres' ? undefined : url('redis', required(values, 'redis', transport), ['redis:', 'rediss:']),
    processes: whole('processes', values.processes ?? '1', 1, 8),
    kill: whole('kill', values.kill ?? '0', 0, 1_000),
    seed: whole('seed', values.seed ?? '1', 0, 2 ** 32 - 1),
    runId: runId(values['run-id'] ?? randomBytes(4).toString('hex')),
    keep: values.keep ?? false,
    attach,
  }
}

/** Refuses flags that need the service processes as children of this run. @throws UsageError */
function requireAttachable(values: Values): void {
  if (values['run-id'] === undefined)
    throw new UsageError('--attach needs --run-id: pass the RUN_ID that the services were started with')
  for (const flag of ['processes', 'kill', 'pause-payments-at'] as const)
    if (values[flag] !== undefined)
      throw new UsageError(`--${flag} does not go with --attach: the services run elsewhere, drop one`)
}

const NEEDS: Readonly<Record<DistributedOptions['transport'], readonly string[]>> = {
  kafka: ['kafka', 'postgres', 'redis'],
  rabbitmq: ['rabbitmq', 'postgres', 'redis'],
  postgres: ['postgres'],
}

function brokerOf(transport: DistributedOptions['transport'], values: Values): string {
  if (transport === 'kafka') return brokers(required(values, 'kafka', transport))
  return transport === 'rabbitmq' ? amqp(required(values, 'rabbitmq', transport)) : databaseOf(values, transport)
}

function databaseOf(values: Values, transport: string): string {
  return url('postgres', required(values, 'postgres', transport), ['postgres:', 'postgresql:'])
}

function required(values: Values, flag: 'kafka' | 'rabbitmq' | 'postgres' | 'redis', transport: string): string {
  const value = values[flag]
  if (value !== undefined) return value
  throw new UsageError(
    `--transport ${transport} needs --${flag}: start servers with "npm run servers" and pass what it prints for ${flag}`,
  )
}

function brokers(value: string): string {
  if (value.split(',').every((broker) => /^[^\s:/]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/.test(broker))) return value
  throw new UsageError(`--kafka: expected HOST:PORT, or several with commas, got "${value}"`)
}

function amqp(value: string): string {
  return url('rabbitmq', value, ['amqp:', 'amqps:'])
}

/** Checks an address. The error does not show it, because it may contain a password. */
function url(flag: string, value: string, protocols: readonly string[]): string {
  if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return value
  throw new UsageError(`--${flag}: expected an address that begins with ${protocols.map((p) => `${p}//`).join(' or ')}`)
}

function whole(flag: string, value: string, min: number, max: number): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN
  if (number >= min && number <= max) return number
  throw new UsageError(`--${flag}: expected a whole number from ${min} to ${max}, got "${value}"`)
}

function optionalWhole(flag: string, value: string | undefined, min: number, max: number): number | undefined {
  return value === undefined ? undefined : whole(flag, value, min, max)
}

function runId(value: string): string {
  if (/^[a-z0-9_]{1,20}$/.test(value)) return value
  throw new UsageError(`--run-id: expected 1 to 20 characters out of a-z 0-9 _, got "${value}"`)
}

function oneOf<const T extends string>(flag: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value)
  if (found !== undefined) return found
  throw new UsageError(`--${flag}: expected ${allowed.slice(0, -1).join(', ')} or ${allowed.at(-1)}, got "${value}"`)
}
