import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { UsageError } from './errors.ts'
import { TRANSPORTS, type TransportName } from './place.ts'
import { ordersFor } from './shop.ts'

/** Options that identify a run. */
export interface RunOptions {
  readonly transport: TransportName
  readonly messages: number
  readonly faults: number
  readonly seed: number
  readonly broken: string | undefined
}

export interface Given {
  /** `undefined`: the options of the run in the folder. */
  readonly options: RunOptions | undefined
  /** Options given beside `--resume`: they must be those of the run in the folder. */
  readonly said: Partial<RunOptions>
  readonly folder: string
  readonly resumes: boolean
  readonly report: string | undefined
  readonly curve: string | undefined
}

export const MISTAKES: Readonly<Record<string, string>> = {
  'counts-before-confirm': 'publishers count an order as accepted before the broker has confirmed it',
  'effect-without-inbox': 'orders and receipts are written without an inbox',
  'no-dedupe': 'participants do what they are told, however often',
}

const MOST = 1_000_000_000
const DEFAULTS = { transport: 'rabbitmq', messages: '12000', faults: '20', seed: '1' } as const

export function help(): string {
  return `npm run proof -- [--transport NAME] [--messages N] [--faults N] [--seed N] [--report FILE] [--curve FILE] [--dir DIR [--resume]] [--broken NAME]

Sends orders through sagas on real servers, kills and freezes every process and server meanwhile, and counts exactly what came of it.

  --transport NAME  ${TRANSPORTS.join(', ')} (${DEFAULTS.transport})
  --messages N      messages that are sent (${DEFAULTS.messages}): an order is 6 of them, with its commands, answers and its end
  --faults N        spread over them, each kind as often as the others (${DEFAULTS.faults})
  --seed N          which faults, on whom, when and for how long (${DEFAULTS.seed})
  --report FILE     where the report goes: JSON if it ends in .json, else Markdown
  --curve FILE      memory and progress over the time, as SVG
  --dir DIR         the state of the run: data of the servers, samples, what was played (below the folder for temporary files)
  --resume          go on with the run in DIR, however it was ended; its options are those it began with
  --broken NAME     with a mistake built in: the run has to fail
${Object.entries(MISTAKES)
  .map(([name, does]) => `                      ${name}: ${does}`)
  .join('\n')}

  npm run proof                                                     two to four minutes on RabbitMQ
  npm run proof -- --transport kafka --messages 1000000 --faults 1000 --seed 7 --dir kafka-7 --report kafka-7.md
  npm run proof -- --dir kafka-7 --resume --report kafka-7.md       goes on where it was ended

Exit codes: 0 everything is exact; 1 not; 2 a mistake in the command line, or a server that cannot be had; 130 and 143 ended by SIGINT and SIGTERM.`
}

/** @returns `undefined` when help is wanted @throws UsageError */
export function parseCommand(args: readonly string[]): Given | undefined {
  const values = parse(args)
  if (values.help === true) return undefined
  const resumes = values.resume === true
  const said = saidOf(values)
  if (resumes && values.dir === undefined)
    throw new UsageError('--resume', true, 'Name the folder of the run: --dir DIR.')
  const options = resumes ? undefined : { ...saidOf({ ...DEFAULTS, ...values }), broken: said.broken }
  return {
    options: options as RunOptions | undefined,
    said,
    folder: resolve(values.dir ?? join(tmpdir(), `concordat-proof-${options?.transport}-${options?.seed}`)),
    resumes,
    report: pathOf('--report', values.report),
    curve: pathOf('--curve', values.curve),
  }
}

const OPTIONS = {
  transport: { type: 'string' },
  messages: { type: 'string' },
  faults: { type: 'string' },
  seed: { type: 'string' },
  report: { type: 'string' },
  curve: { type: 'string' },
  dir: { type: 'string' },
  resume: { type: 'boolean' },
  broken: { type: 'string' },
  help: { type: 'boolean' },
} as const

type Values = Partial<Record<Exclude<keyof typeof OPTIONS, 'resume' | 'help'>, string>>

function parse(args: readonly string[]): Values & { readonly resume?: boolean; readonly help?: boolean } {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values
  } catch (error) {
    const [what = ''] = error instanceof Error ? error.message.split(/[.\n]/, 1) : []
    throw new UsageError('command line', args.join(' '), `${what}. See --help.`)
  }
}

function saidOf({ transport, messages, faults, seed, broken }: Values): Partial<RunOptions> {
  if (transport !== undefined && !isTransport(transport)) {
    throw new UsageError('--transport', transport, `Choose from ${TRANSPORTS.join(', ')}.`)
  }
  if (broken !== undefined && !Object.hasOwn(MISTAKES, broken)) {
    throw new UsageError('--broken', broken, `Choose from ${Object.keys(MISTAKES).join(', ')}.`)
  }
  const count = wholeOf('--messages', messages, 1)
  const faulty = wholeOf('--faults', faults, 0)
  const orders = count === undefined ? undefined : ordersFor(count)
  if (orders !== undefined && faulty !== undefined && faulty > orders) {
    throw new UsageError('--faults', faulty, `At most one for each order: ${orders} or fewer, or more --messages.`)
  }
  const number = wholeOf('--seed', seed, 0)
  return {
    ...(transport !== undefined && { transport }),
    ...(count !== undefined && { messages: count }),
    ...(faulty !== undefined && { faults: faulty }),
    ...(number !== undefined && { seed: number }),
    ...(broken !== undefined && { broken }),
  }
}

function isTransport(name: string): name is TransportName {
  return TRANSPORTS.some((transport) => transport === name)
}

function wholeOf(option: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= MOST) return value
  throw new UsageError(option, text, `Give a whole number from ${least} to ${MOST}.`)
}

function pathOf(option: string, text: string | undefined): string | undefined {
  if (text === '') throw new UsageError(option, text, 'Name a file.')
  return text === undefined ? undefined : resolve(text)
}
