/** Parses the command line. An invalid option fails with one line that says what is expected. */
import { parseArgs } from 'node:util'

/** Mistake of the caller: the program prints one line with the remedy and exits with code 2. */
export class UsageError extends Error {}

export const KINDS = ['saga', 'tcc', 'xa', 'undo', 'code'] as const
export type Kind = (typeof KINDS)[number]

export interface Options {
  readonly kind: Kind
  readonly transfers: number
  readonly kill: number
  readonly seed: number
  readonly processes: number
  /** URL of the server. `undefined` starts a private server for this run. */
  readonly postgres: string | undefined
  readonly report: string | undefined
  readonly logLevel: string
}

export const USAGE = `npm run transfer -- [options]

  --kind KIND        kind of transaction: saga, tcc, xa, undo or code  (default: tcc)
  --transfers N      1 to 100000  (default: 200)
  --kill N           kills N processes with SIGKILL during the run, and restarts each  (default: 0)
  --seed N           determines the transfers and the processes to kill  (default: 1)
  --processes N      processes of the desk and of each bank, 1 to 4  (default: 2)
  --postgres URL     a server on which you may create databases; xa needs max_prepared_transactions
                     (default: a private server, started for this run)
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
    throw new UsageError(`${(error as Error).message}; --help lists the options`)
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
