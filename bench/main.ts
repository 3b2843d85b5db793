/** `npm run bench -- <suite> [--rounds N] [--only NAME,...]`: speed beside the peer, measured in the same run. */
import { parseArgs } from 'node:util'
import { type Comparison, compare, type Result } from './compare.ts'
import { printTable } from './table.ts'

/** What a suite gets from the command line. */
export interface SuiteOptions {
  readonly rounds: number
  /** Parts to run; empty = all. */
  readonly only: readonly string[]
  /** Compares and keeps the result for the table. */
  readonly measure: (comparison: Comparison) => Promise<void>
  /** Something was left out, and why. */
  readonly skip: (reason: string) => void
}

type Suite = (options: SuiteOptions) => Promise<void>

const SUITES: Readonly<Record<string, () => Promise<Suite>>> = {
  binder: async () => (await import('./binder/suite.ts')).binderSuite,
  example: async () => (await import('./example/suite.ts')).exampleSuite,
  outbox: async () => (await import('./outbox/suite.ts')).outboxSuite,
}

async function main(): Promise<number> {
  const given = parseArguments()
  if (typeof given === 'string') {
    console.error(
      `bench: ${given}. Usage: npm run bench -- ${Object.keys(SUITES).join('|')} [--rounds N] [--only NAME,...]`,
    )
    return 2
  }
  const results: Result[] = []
  const skipped: string[] = []
  const suite = await given.load()
  await suite({
    rounds: given.rounds,
    only: given.only,
    measure: async (comparison) => {
      process.stderr.write(`${comparison.what} ...\n`)
      results.push(await compare(comparison, given.rounds))
    },
    skip: (reason) => void skipped.push(reason),
  })
  printTable(
    `${given.name}: medians of ${given.rounds} round${given.rounds === 1 ? '' : 's'}, both sides taking turns`,
    results,
  )
  for (const reason of skipped) console.log(`left out: ${reason}`)
  return 0
}

interface Given {
  readonly name: string
  readonly load: () => Promise<Suite>
  readonly rounds: number
  readonly only: readonly string[]
}

/** The command line, or what is wrong with it. */
function parseArguments(): Given | string {
  try {
    const options = { rounds: { type: 'string', default: '5' }, only: { type: 'string', default: '' } } as const
    const { positionals, values } = parseArgs({ options, allowPositionals: true })
    const [name = '', ...more] = positionals
    const load = Object.hasOwn(SUITES, name) ? SUITES[name] : undefined
    if (load === undefined) return name === '' ? 'name a suite' : `there is no suite "${name}"`
    if (more.length > 0) return `one suite at a time, not also "${more.join(' ')}"`
    const rounds = Number(values.rounds)
    if (!Number.isSafeInteger(rounds) || rounds < 1)
      return `--rounds: expected a whole number >= 1, got "${values.rounds}"`
    return { name, load, rounds, only: values.only.split(',').filter((part) => part !== '') }
  } catch (error) {
    return error instanceof Error ? error.message.replace(/\.$/, '') : String(error)
  }
}

process.exitCode = await main()
