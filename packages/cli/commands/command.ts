/** Definition of a command: data for the help and the parser, and a function over the operator API. */
import type { Operator, OperatorOptions } from '../operator.ts'

/** A mistake on the command line: one line, exit code 2. */
export class UsageError extends Error {}

export interface OptionSpec {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean | undefined
  /** Placeholder of the value in the help. */
  readonly hint?: string | undefined
  readonly about: string
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

export type Values = Readonly<Record<string, string | boolean | ReadonlyArray<string | boolean> | undefined>>

/** Arguments of a command. */
export interface Invocation {
  readonly values: Values
  readonly positionals: readonly string[]
  readonly schema: string | undefined
  /** The user, unless `--by` is given. */
  readonly user: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Connects with the first call. @throws UsageError without an address */
  readonly operator: (
    more?: Pick<OperatorOptions, 'bus'> & { readonly module?: string | undefined },
  ) => Promise<Operator>
  /**
   * Refuses before the confirmation what the audit of operators would refuse after it. Call it after `operator()`.
   * @throws `core.tables_missing`
   */
  readonly requireTrail: () => Promise<void>
  /** Schemas of the database that have tables of Concordat. Call it after `operator()`. */
  readonly schemas: () => Promise<readonly string[]>
  /** Prints at once: for a command that continues until it is stopped. */
  readonly print: (text: string) => Promise<void>
  /** Prints a progress line, separate from the output. */
  readonly progress: (line: string) => void
  /** Aborts when the process receives a signal to end. */
  readonly stop: AbortSignal
  /** Shows the plan and asks; true with `--yes`. @throws UsageError without a terminal and without `--yes` */
  readonly confirm: (plan: string, question: string) => Promise<boolean>
}

/** Output of a command: for people, and with `--json`. */
export interface Outcome {
  readonly text: string
  /** `undefined`: it has already printed its output. */
  readonly json: unknown
  /** 0 success; 1 refused, not found, or an unhealthy result. @default 0 */
  readonly code?: number | undefined
}

export interface Command {
  /** `saga retry` */
  readonly name: string
  readonly summary: string
  /** Words after the name: `SAGA/ID`. */
  readonly takes?: string | undefined
  readonly options: OptionSpecs
  readonly examples: readonly string[]
  run(invocation: Invocation): Promise<Outcome>
}

export const DATABASE_OPTIONS: OptionSpecs = {
  postgres: {
    type: 'string',
    hint: 'URL',
    about: 'the database (default: $CONCORDAT_POSTGRES, or PGHOST, PGUSER, ...)',
  },
}

export const BROKER_OPTIONS: OptionSpecs = {
  kafka: { type: 'string', hint: 'HOST:PORT', about: 'the brokers, with commas between (default: $CONCORDAT_KAFKA)' },
  rabbitmq: {
    type: 'string',
    hint: 'URL',
    about: 'the broker (default: $CONCORDAT_RABBITMQ; else the log in the database)',
  },
}

export const REDIS_OPTIONS: OptionSpecs = {
  redis: { type: 'string', hint: 'URL', about: 'the server (default: $CONCORDAT_REDIS; else what the database has)' },
  prefix: { type: 'string', hint: 'TEXT', about: "what its keys begin with (default: the package's own)" },
}

export const RESOURCE_OPTIONS: OptionSpecs = {
  mysql: {
    type: 'string',
    hint: 'URL',
    about: 'the MariaDB or MySQL that XA participants prepare on (default: $CONCORDAT_MYSQL; else none)',
  },
}

export const WATCH_OPTION: OptionSpecs = {
  watch: { type: 'boolean', about: 'again every 2 s, until Ctrl-C; with --json one line each time' },
}

export const ACTION_OPTIONS: OptionSpecs = {
  reason: { type: 'string', hint: 'TEXT', about: 'why; kept with the action (required)' },
  by: { type: 'string', hint: 'NAME', about: 'who (default: $CONCORDAT_BY, or user@host)' },
  yes: { type: 'boolean', about: 'do not ask' },
}

export const COMMON_OPTIONS: OptionSpecs = {
  schema: {
    type: 'string',
    hint: 'NAME',
    about: 'the schema of the tables (default: $CONCORDAT_SCHEMA, or concordat)',
  },
  json: { type: 'boolean', about: 'print one JSON document' },
  help: { type: 'boolean', about: 'print this' },
}
