import { parseArgs } from 'node:util'
import { KAFKA_DRIVER, KAFKA_DRIVERS } from '../support/kafka-driver-name.ts'
import { isPlayedOn, type Mistake, type Suite } from './harness/suite.ts'

export interface Given {
  readonly suite: Suite
  /** Run one after the other. */
  readonly seeds: readonly number[]
  readonly seconds: number
  readonly only: readonly string[]
  readonly broken: string | undefined
  /** The brokers of a seed, one run after the other; `undefined`: the suite has none to choose, or plays all at once. */
  transports(seed: number): ReadonlyArray<string | undefined>
  readonly keep: boolean
  /** Command line that plays one of the runs alone. */
  command(seed: number, transport?: string): string
}

const DEFAULT_SECONDS = '30'
/** A mistake most often shows in the first round. Where that rests on which process is faster, one of the next shows it. */
const BROKEN_SECONDS = '150'

export function usage(suites: readonly string[]): string {
  return `npm run faults -- ${suites.join('|')} --seed N|FROM..TO [--seconds S] [--only FAULT,...] [--broken NAME] [--transport BROKER] [--store STORE] [--kind KIND] [--keep]`
}

/** Text of `--help`. */
export function help(suites: readonly Suite[]): string {
  const list = (items: readonly string[]): string => items.join(', ')
  const about = suites.flatMap(({ name, faults, mistakes, transports, stores, kinds }) => [
    `${name}`,
    `  faults: ${list(faults.map((fault) => fault.name))}`,
    `  mistakes: ${list(Object.keys(mistakes))}`,
    ...(transports === undefined ? [] : [`  transports: ${list(transports)}`]),
    ...(kinds === undefined ? [] : [`  kinds: ${list(Object.keys(kinds))}`]),
    ...Object.entries(stores ?? {}).map(([store, load]) => {
      return `  --store ${store}: ${list(load().faults.map((fault) => fault.name))}; mistakes: ${list(Object.keys(load().mistakes))}`
    }),
  ])
  return [
    `Usage: ${usage(suites.map(({ name }) => name))}`,
    '',
    '  --seed N          which run; 1..5 for one after the other. The same seed plays the same faults',
    `  --seconds S       begin no second round of the faults after this; the first is always finished (${DEFAULT_SECONDS}; with --broken ${BROKEN_SECONDS}: it ends when the mistake shows)`,
    '  --only FAULT,...  play these faults alone',
    '  --broken NAME     build this mistake in: the run has to fail',
    '  --transport NAME  the broker, where there is a choice; else the seeds take turns (binder: all at once; cluster: one after the other)',
    '  --store NAME      the store, where there is a choice (locks, election: redis)',
    '  --kind NAME       the kind of transaction, where there is a choice (transactions: mixed)',
    '  --keep            keep the histories of a run that passed, too',
    '',
    `  KAFKA_DRIVER=NAME in the environment: the client library on Kafka, ${list(KAFKA_DRIVERS)} (${KAFKA_DRIVERS[0]})`,
    '',
    ...about,
  ].join('\n')
}

/** Parses the command line, or describes its mistake on one line. */
export async function parseCommand(
  args: readonly string[],
  suites: Readonly<Record<string, () => Promise<Suite>>>,
): Promise<Given | string> {
  const parsed = parse(args)
  if (typeof parsed === 'string') return parsed
  const { positionals, values } = parsed
  const [name = '', ...more] = positionals
  const load = Object.hasOwn(suites, name) ? suites[name] : undefined
  if (load === undefined) return name === '' ? 'name a suite' : `there is no suite "${name}"`
  if (more.length > 0) return `one suite at a time, not also "${more.join(' ')}"`
  if (values.seed === undefined) return '--seed is missing: a whole number, or a range such as 1..5'
  const seeds = seedsOf(values.seed)
  if (seeds === undefined) return `--seed: expected a whole number, or a range such as 1..5, got "${values.seed}"`
  const seconds = values.seconds ?? (values.broken === undefined ? DEFAULT_SECONDS : BROKEN_SECONDS)
  if (!isCount(seconds)) return `--seconds: expected a whole number, got "${seconds}"`
  const stored = chosen(await load(), 'store', values.store)
  const suite = typeof stored === 'string' ? stored : chosen(stored, 'kind', values.kind)
  if (typeof suite === 'string') return suite
  const only = values.only.split(',').filter((part) => part !== '')
  const faults = suite.faults.map((fault) => fault.name)
  const stranger = only.find((fault) => !faults.includes(fault))
  if (stranger !== undefined) return `--only: there is no fault "${stranger}", choose from ${faults.join(', ')}`
  const { broken } = values
  const mistakes = Object.keys(suite.mistakes)
  if (broken !== undefined && !mistakes.includes(broken)) {
    return `--broken: there is no "${broken}", choose from ${mistakes.join(', ')}`
  }
  const { transports } = suite
  const named = values.transport
  if (named !== undefined && transports === undefined) return `--transport: "${name}" has no broker to choose`
  if (named !== undefined && !transports?.includes(named)) {
    return `--transport: there is no "${named}", choose from ${transports?.join(', ')}`
  }
  const mistake = broken === undefined ? undefined : suite.mistakes[broken]
  if (named !== undefined && mistake !== undefined && !isPlayedOn(mistake, named))
    return `--broken: "${broken}" cannot be built in on ${named}, only on ${[mistake.on].flat().join(', ')}`
  const { seed: given } = values
  if (!isDriver(KAFKA_DRIVER))
    return `KAFKA_DRIVER: there is no "${KAFKA_DRIVER}", choose from ${KAFKA_DRIVERS.join(', ')}`
  const command = (seed: number, transport?: string): string => {
    const own = args.map((arg, n) => withSeed(arg, args[n - 1], given, seed))
    const more = suite.transportsInTurn === true && named === undefined ? ['--transport', transport ?? ''] : []
    return [...driverOf(transport), 'npm run faults --', ...own, ...more].join(' ')
  }
  const ofSeed = (seed: number) => transportsOf({ suite, named, mistake, only }, seed)
  return { suite, seeds, seconds: Number(seconds), only, broken, transports: ofSeed, keep: values.keep, command }
}

interface Choice {
  readonly suite: Suite
  readonly named: string | undefined
  readonly mistake: Mistake | undefined
  readonly only: readonly string[]
}

/** Transports to play on, one after the other, where at least one of the chosen faults can be played. */
function transportsOf({ suite, named, mistake, only }: Choice, seed: number): ReadonlyArray<string | undefined> {
  const { transports, faults } = suite
  if (named !== undefined || transports === undefined || suite.transportsTogether === true) return [named]
  if (suite.transportsInTurn !== true) return [transports.at((seed - 1) % transports.length)]
  const wanted = faults.filter(({ name }) => only.length === 0 || only.includes(name))
  return transports.filter(
    (each) => (mistake === undefined || isPlayedOn(mistake, each)) && wanted.some((fault) => isPlayedOn(fault, each)),
  )
}

/** The suite on that store, or for that kind; or a description of the mistake. */
function chosen(suite: Suite, option: 'store' | 'kind', name: string | undefined): Suite | string {
  if (name === undefined) return suite
  const choices: Readonly<Record<string, () => Suite>> | undefined = suite[`${option}s`]
  if (choices === undefined) return `--${option}: "${suite.name}" has no ${option} to choose`
  const load = Object.hasOwn(choices, name) ? choices[name] : undefined
  if (load === undefined) return `--${option}: there is no "${name}", choose from ${Object.keys(choices).join(', ')}`
  return load()
}

function parse(args: readonly string[]) {
  const options = {
    seed: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string', default: '' },
    broken: { type: 'string' },
    transport: { type: 'string' },
    store: { type: 'string' },
    kind: { type: 'string' },
    keep: { type: 'boolean', default: false },
  } as const
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    return error instanceof Error ? error.message.split('\n', 1).join().replace(/\.$/, '') : String(error)
  }
}

function isDriver(name: string): boolean {
  return KAFKA_DRIVERS.some((each) => each === name)
}

/** Options of a command line that select the same library again. */
function driverOf(transport: string | undefined): readonly string[] {
  const isOnKafka = transport === undefined || transport === 'kafka'
  return isOnKafka && KAFKA_DRIVER !== KAFKA_DRIVERS[0] ? [`KAFKA_DRIVER=${KAFKA_DRIVER}`] : []
}

function withSeed(arg: string, before: string | undefined, given: string, seed: number): string {
  if (before === '--seed') return String(seed)
  return arg === `--seed=${given}` ? `--seed=${seed}` : arg
}

const MOST_SEEDS = 1_000

/** `7` or `1..5`. */
function seedsOf(text: string): readonly number[] | undefined {
  const [from = '', to = from, ...more] = text.split('..')
  if (!isCount(from) || !isCount(to) || more.length > 0) return undefined
  const count = Number(to) - Number(from) + 1
  return count < 1 || count > MOST_SEEDS ? undefined : Array.from({ length: count }, (_, n) => Number(from) + n)
}

function isCount(text: string): boolean {
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text))
}
