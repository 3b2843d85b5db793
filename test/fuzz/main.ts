/**
 * `npm run fuzz -- --target NAME|all --inputs N --seed S`: gives hostile inputs to each place where the package reads
 * foreign data. `SECURITY.md` lists the checks.
 *
 * Exit codes: 0 everything held; 1 not; 2 a mistake in the command line.
 */
import { parseArgs } from 'node:util'
import { type Played, play } from './play.ts'
import { TARGETS } from './targets.ts'

const USAGE =
  'npm run fuzz -- [--target NAME,...|all] [--inputs N] [--seed S] [--replay SEED:PATH (with one target)] [--help]'

interface Given {
  readonly names: readonly string[]
  readonly inputs: number
  readonly seed: number
  readonly replay: string | undefined
}

function given(args: readonly string[]): Given | string {
  const text = { type: 'string' } as const
  const options = { target: text, inputs: text, seed: text, replay: text, help: { type: 'boolean' } } as const
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values']
  try {
    ;({ values } = parseArgs({ args: [...args], options }))
  } catch (error) {
    return (error as Error).message
  }
  const { target = 'all', inputs = '10000', seed = '1', replay } = values
  if (values.help === true) return 'help'
  const names = target === 'all' ? TARGETS.map(({ name }) => name) : target.split(',')
  const unknown = names.find((name) => !TARGETS.some((each) => each.name === name))
  if (unknown !== undefined) return `--target: there is no "${unknown}"`
  if (!/^[1-9]\d{0,9}$/.test(inputs)) return `--inputs: expected a whole number from 1, got "${inputs}"`
  if (!/^\d{1,10}$/.test(seed)) return `--seed: expected a whole number, got "${seed}"`
  if (replay !== undefined && names.length !== 1) return '--replay: expected one --target'
  return { names, inputs: Number(inputs), seed: Number(seed), replay }
}

function help(): string {
  const width = Math.max(...TARGETS.map(({ name }) => name.length))
  return [`Usage: ${USAGE}`, '', ...TARGETS.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`)].join('\n')
}

function line({ target, inputs, refused, tookMs, cpuMs, slowestMs, grownBytes }: Played): string {
  const rate = Math.round(inputs / (tookMs / 1_000))
  const perCpu = Math.round(inputs / (cpuMs / 1_000))
  const grown = grownBytes === undefined ? '' : `, heap ${(grownBytes / 1_048_576).toFixed(1)} MiB`
  return `${target.padEnd(20)} ${String(inputs).padStart(9)} inputs, ${String(refused).padStart(8)} refused, ${rate}/s, ${perCpu}/s of CPU, slowest ${slowestMs.toFixed(1)} ms${grown}`
}

async function main(): Promise<number> {
  const command = given(process.argv.slice(2))
  if (typeof command === 'string') {
    if (command !== 'help') console.error(`fuzz: ${command}. Usage: ${USAGE}`)
    else console.log(help())
    return command === 'help' ? 0 : 2
  }
  let code = 0
  for (const target of TARGETS.filter(({ name }) => command.names.includes(name))) {
    const played = await play(target, command)
    console.log(line(played))
    if (played.failure === undefined) continue
    code = 1
    const { why, input, replay } = played.failure
    console.log(`  failed: ${why}\n  input: ${input}`)
    console.log(`  replay: npm run fuzz -- --target ${target.name} '--replay=${replay}'`)
  }
  return code
}

process.exitCode = await main()
// Handles that a target left open must not keep the process alive.
process.exit()
