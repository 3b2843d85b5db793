/** The command line: what was asked for, or one line that says what is wrong with it. */
import { parseArgs } from 'node:util'

/** A mistake of whoever called us: one line with the remedy, exit code 2. */
export class UsageError extends Error {}

export const KINDS = ['saga', 'tcc', 'xa', 'undo', 'code'] as const
export type Kind = (typeof KINDS)[number]

export interface Options {
  readonly kind: Kind
  readonly transfers: number
  readonly kill: number
  readonly seed: number
  readonly processes: number
  /** `undefined`: a private server, started for this run. */
  readonly postgres: string | undefined
  readonly report: string | undefined
  readonly logLevel: string
}

export const USAGE = `npm run transfer -- [options]

  --kind KIND        saga, tcc, xa, undo or code: the same business in each  (default: tcc)
  --transfers N      1 to 100000  (default: 200)
  --kill N           kills N processes with SIGKILL while it runs, and starts each again  (default: 0)
  --seed N           makes the transfers and chooses the victims  (default: 1)
  --processes N      of the desk and of each bank, 1 to 4  (default: 2)
  --postgres URL     a server on which databases may be made; for xa one with max_prepared_transactions
                     (default: a private one, started for this run)
  --report FILE      writes the result as JSON
  --log-level LEVEL  silent, error (default), warn, info or debug; to standard error
  --help
`

const LEVELS = ['silent', 'error', 'warn', 'info', 'debug']

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options | 'help' {
  const text = { type: 'string' } as const
  const options = { kind: text, transfers: text, kill: text, seed: text, processes: text, postgres: text } as const
  const more = { report: text, 'log-level': text, help: { type: 'boolean' } } as const
  let values: Partial<Record<keyof typeof options | 'report' | 'log-level', string>> & { help?: boolean }
  try {
    values = parseArgs({ args: [...args], options: { ...options, ...more } }).values
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; --help lists what there is`)
  }
  if (values.help === true) return 'help'
  const kind = KINDS.find((each) => each === (values.kind ?? 'tcc'))
  if (kind === undefined) throw new UsageError(`--kind ${values.kind}: choose ${KINDS.join(', ')}`)
  const logLevel = values['log-level'] ?? 'error'
  if (!LEVELS.includes(logLevel)) throw new UsageError(`--log-level ${logLevel}: choose ${LEVELS.join(', ')}`)
  return {
    kind,
    transfers: integer('transfers', values.transfers ?? '200', 1, 100_000),
    kill: integer('kill', values.kill ?? '0', 0, 1_000),
    seed: integer('seed', values.seed ?? '1', 0, 2 ** 31),
    processes: integer('processes', values.processes ?? '2', 1, 4),
    postgres: values.postgres,
    report: values.report,
    logLevel,
  }
}

function integer(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw new UsageError(`--${name} ${text}: expected a whole number from ${min} to ${max}`)
}
