/** Runs a command line: from arguments to text and an exit code. */
import { hostname, userInfo } from 'node:os'
import { parseArgs } from 'node:util'
import { toError } from 'concordat/extension'
import { VERSIONS_TABLE } from '../doctor/other-schemas.ts'
import { ASYNCAPI_COMMANDS } from './asyncapi.ts'
import { AUDIT_COMMANDS } from './audit.ts'
import { BUS_COMMANDS } from './bus.ts'
import { CLUSTER_COMMANDS } from './cluster.ts'
import {
  COMMON_OPTIONS,
  type Command,
  type Invocation,
  type OptionSpecs,
  type Outcome,
  UsageError,
  type Values,
} from './command.ts'
import { completionCommand } from './completion.ts'
import { type KnownAddresses, knownAddresses } from './config-file-addresses.ts'
import { ask, type Terminal } from './confirm.ts'
import { type Connection, connect } from './connect.ts'
import { CONSOLE_COMMANDS } from './console.ts'
import { namingTheRights } from './denied.ts'
import { DLQ_COMMANDS } from './dlq.ts'
import { DOCTOR_COMMANDS } from './doctor.ts'
import { helpOf, overview } from './help.ts'
import { INIT_COMMANDS } from './init.ts'
import { INSTANCE_COMMANDS } from './instances.ts'
import { LAG_COMMANDS } from './lag.ts'
import { LEADER_COMMANDS } from './leader.ts'
import { LOCK_COMMANDS } from './locks.ts'
import { MIGRATE_COMMANDS } from './migrate.ts'
import { namingTheTables } from './missing-tables.ts'
import { meant } from './nearest.ts'
import { forOperators } from './operator-error-text.ts'
import { OUTBOX_COMMANDS } from './outbox.ts'
import { printable, printableJson, printableLines, withoutSecrets } from './output.ts'
import { SAGA_COMMANDS } from './saga.ts'
import { SAGA_ACTION_COMMANDS } from './saga-actions.ts'
import { namingTheServer, ServerAway } from './server-away.ts'
import { TOPOLOGY_COMMANDS } from './service-topology.ts'
import { UNDO_COMMANDS } from './undo-and-prepared.ts'
import { flag, text } from './values.ts'
import { VERSION_COMMANDS } from './version.ts'

const COMPLETION_COMMANDS = [completionCommand(() => COMMANDS)]

export const COMMANDS: readonly Command[] = [
  ...DOCTOR_COMMANDS,
  ...SAGA_COMMANDS,
  ...SAGA_ACTION_COMMANDS,
  ...OUTBOX_COMMANDS,
  ...DLQ_COMMANDS,
  ...LAG_COMMANDS,
  ...LOCK_COMMANDS,
  ...LEADER_COMMANDS,
  ...CLUSTER_COMMANDS,
  ...INSTANCE_COMMANDS,
  ...BUS_COMMANDS,
  ...UNDO_COMMANDS,
  ...AUDIT_COMMANDS,
  ...TOPOLOGY_COMMANDS,
  ...ASYNCAPI_COMMANDS,
  ...CONSOLE_COMMANDS,
  ...INIT_COMMANDS,
  ...COMPLETION_COMMANDS,
  ...MIGRATE_COMMANDS,
  ...VERSION_COMMANDS,
]

const OPTIONS_OF_SERVERS = ['postgres', 'kafka', 'rabbitmq', 'redis', 'prefix', 'mysql'] as const
const VERSION = ['--version', '-V', '-v']

/** Access to the process. */
export interface World extends Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Prints output of commands that run until they are stopped. @default discards it */
  readonly print?: ((text: string) => Promise<void>) | undefined
}

export interface Printed {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

export async function run(args: readonly string[], world: World): Promise<Printed> {
  try {
    const { stdout, code } = await dispatch(args, world)
    return { stdout, stderr: '', code }
  } catch (error) {
    const code = codeOf(error)
    const remedy = code === 2 ? `${oneLine(error).endsWith('?') ? '' : '.'} Try ${helpFor(args)}` : ''
    const said = forOperators(error, oneLine(error))
    return { stdout: '', stderr: withoutSecrets(`concordat: ${printable(said)}${remedy}\n`), code }
  }
}

/** Selects the help that matches most of the given words. */
function helpFor(args: readonly string[]): string {
  const [first = '', second = ''] = args
  const names = [`${first} ${second}`, first]
  const known = names.find((name) => COMMANDS.some((command) => command.name === name))
  const group = COMMANDS.some(({ name }) => name.split(' ')[0] === first) ? first : ''
  return ['concordat', known ?? group, '--help'].filter((word) => word !== '').join(' ')
}

async function dispatch(args: readonly string[], world: World): Promise<{ stdout: string; code: number }> {
  if (args[0] === 'help') return dispatch([...args.slice(1), '--help'], world)
  const words = args.filter(
    (arg, n) => n < 2 && !arg.startsWith('-') && args.slice(0, n).every((a) => !a.startsWith('-')),
  )
  const command =
    COMMANDS.find(({ name }) => name === words.join(' ')) ?? COMMANDS.find(({ name }) => name === words[0])
  if (command === undefined && VERSION.includes(args[0] ?? '')) return dispatch(['version', ...args.slice(1)], world)
  const asksHelp = args.length === 0 || args.includes('--help') || args.includes('-h')
  if (command === undefined) {
    const [first] = words
    const isGroup = COMMANDS.some(({ name }) => name.split(' ')[0] === first)
    if (asksHelp && (first === undefined || (isGroup && words.length === 1)))
      return { stdout: overview(COMMANDS, first), code: 0 }
    throw new UsageError(unknownCommand(words))
  }
  if (asksHelp) return { stdout: helpOf(command), code: 0 }
  const { values, positionals } = parse(command, args.slice(command.name.split(' ').length))
  const { text: said, json, code = 0 } = await execute(command, values, positionals, world)
  if (json === undefined || !flag(values, 'json')) return { stdout: printableLines(said), code }
  const indent = flag(values, 'watch') ? 0 : 2
  return { stdout: printableJson(`${JSON.stringify(json, null, indent)}\n`), code }
}

/** Suggests a group's commands; otherwise only first words, since all commands fill a screen. */
function unknownCommand(words: readonly string[]): string {
  const [first = ''] = words
  const group = COMMANDS.filter(({ name }) => name.split(' ')[0] === first).map(({ name }) => name)
  const said = group.length > 0 ? words.join(' ') : first
  const names = group.length > 0 ? group : [...new Set(COMMANDS.map(({ name }) => name.split(' ')[0] ?? ''))]
  if (said === '') return 'a command comes before its options'
  if (said === first && group.length > 0) return `"${said}" needs one more word: ${meant(' ', names)}`
  return `unknown command "${words.join(' ')}": ${meant(said, names)}`
}

function parse(
  { options }: Command,
  args: readonly string[],
): { readonly values: Values; readonly positionals: readonly string[] } {
  const all: OptionSpecs = { ...options, ...COMMON_OPTIONS }
  const specs = Object.fromEntries(
    Object.entries(all).map(([name, { type, multiple }]) => [name, { type, multiple: multiple === true }]),
  )
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options: specs })
  } catch (error) {
    const [unknown] = /'--?[^'\s]*'/.exec(toError(error).message) ?? []
    const isUnknown = (error as { code?: unknown }).code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION'
    if (isUnknown && unknown !== undefined)
      throw new UsageError(
        `unknown option ${unknown}: ${meant(
          unknown.slice(1, -1),
          Object.keys(all).map((name) => `--${name}`),
          (name) => name,
        )}`,
      )
    throw new UsageError(oneLine(error))
  }
}

async function execute(
  command: Command,
  values: Values,
  positionals: readonly string[],
  world: World,
): Promise<Outcome> {
  const { env } = world
  const schema = text(values, 'schema') ?? (env['CONCORDAT_SCHEMA'] || undefined)
  let connection: Connection | undefined
  let known: KnownAddresses | undefined
  const invocation: Invocation = {
    values,
    positionals,
    schema,
    env,
    user: userName(),
    print: async (said) => world.print?.(flag(values, 'json') ? printableJson(said) : printableLines(said)),
    progress: (line) => void world.output.write(`${printable(line)}\n`),
    stop: world.stop ?? new AbortController().signal,
    operator: async (more = {}) => {
      const [postgres, kafka, rabbitmq, redis, prefix, mysql] = OPTIONS_OF_SERVERS.map((name) => text(values, name))
      const isPatient = command.name === 'migrate apply'
      known ??= await knownAddresses(values, env)
      const addresses = { postgres, kafka, rabbitmq, redis, prefix, mysql, schema, isPatient, ...more }
      connection ??= await connect(addresses, known.env)
      return connection.operator
    },
    schemas: async () => (await connection?.schemasWith(VERSIONS_TABLE)) ?? [],
    requireTrail: async () => connection?.requireTrail(),
    confirm: async (plan, question) => flag(values, 'yes') || ask(world, plan, question),
  }
  try {
    return await command.run(invocation)
  } catch (error) {
    const named = await namingTheTables(error, async (table) => (await connection?.schemasWith(table)) ?? [])
    const acts = 'reason' in command.options && !flag(values, 'dry-run')
    const told = await namingTheRights(named, async () => connection?.missingRights())
    throw known === undefined ? told : known.told(namingTheServer(told, values, known.env, acts))
  } finally {
    await connection?.close()
  }
}

/** A user id without a name does not count as a user. */
function userName(): string {
  try {
    return `${userInfo().username}@${hostname()}`
  } catch {
    return `unknown@${hostname()}`
  }
}

/** An `AggregateError` of a driver has no message of its own. */
function oneLine(error: unknown): string {
  const { message } = toError(error)
  const code = (error as { code?: unknown } | null)?.code
  const said = message === '' && typeof code === 'string' ? code : message
  return said.split('\n')[0]?.replace(/\.$/, '') ?? ''
}

/** Error codes that mean a wrong command line. */
const MISTAKES: ReadonlySet<unknown> = new Set(['bus.address', 'core.schema'])

function codeOf(error: unknown): number {
  if (error instanceof ServerAway) return 3
  if (error instanceof UsageError || error instanceof TypeError || error instanceof RangeError) return 2
  return MISTAKES.has((error as { readonly code?: unknown } | null)?.code) ? 2 : 1
}
