/** `npm run sim`: whole systems in a deterministic world, a history for each seed. See docs/contributing/how-we-test.md. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type PlayedHistory, SimulationFailed, type SimulationReport, simulate } from '@concordat/simulator'
import { ProgressLine } from '../support/progress-line.ts'
import { Databases } from './databases.ts'
import { playDefects } from './defects/play.ts'
import { playMistakes } from './mistakes.ts'
import { Pairs } from './pairs.ts'
import { resolveSim, type SimOptions, UsageError } from './sim-options.ts'
import type { Workload } from './workload.ts'
import { WORKLOADS } from './workloads.ts'

const DIGEST_LENGTH = 12
/** Seeds per turn: with a time limit the workloads take turns, so that each has its share. */
const SEEDS_A_TURN = 5
const SECOND = 1_000
const MINUTE = 60 * SECOND

/** Totals of all workloads. */
interface Sum {
  histories: number
  simulatedMs: number
  faults: number
}

class Sim {
  readonly #options: SimOptions
  readonly #databases: Databases
  readonly #pairs = new Pairs()
  readonly #digest = createHash('sha256')
  readonly #line = new ProgressLine(process.stderr)
  readonly sum: Sum = { histories: 0, simulatedMs: 0, faults: 0 }
  #played = 0
  #workload = ''

  constructor(options: SimOptions, databases: Databases) {
    this.#options = options
    this.#databases = databases
  }

  /** Each workload in turn for some seeds, until all are played or the time is over. @throws SimulationFailed */
  async play(): Promise<void> {
    const { from, count, minutes, workloads } = this.#options
    const deadline = performance.now() + (minutes ?? Number.POSITIVE_INFINITY) * MINUTE
    const perTurn = minutes === undefined ? count : Math.min(count, SEEDS_A_TURN)
    for (let done = 0; done < count && performance.now() < deadline; done += perTurn) {
      for (const name of workloads) await this.#playSome(name, from + done, Math.min(perTurn, count - done))
    }
  }

  /** Ends the progress line. */
  end(): void {
    this.#line.end()
  }

  print(tookMs: number): void {
    const { histories, simulatedMs, faults } = this.sum
    const rate = (histories / tookMs) * SECOND
    console.log(
      `${histories} histories, ${faults} faults, ${(simulatedMs / MINUTE).toFixed(1)} simulated minutes in ${(tookMs / SECOND).toFixed(1)} s: ` +
        `${rate.toFixed(1)} histories and ${(simulatedMs / tookMs).toFixed(0)} simulated seconds a second`,
    )
    console.log(`sha256 of all that happened: ${this.#digest.digest('hex').slice(0, DIGEST_LENGTH)}`)
    console.log(this.#pairs.summary)
    if (this.#options.pairs) for (const line of this.#pairs.missing) console.log(line)
  }

  /** Current workload, or that of the failed history. */
  get workload(): string {
    return this.#workload
  }

  async #playSome(name: string, from: number, count: number): Promise<void> {
    this.#workload = name
    const workload = WORKLOADS[name] as Workload
    const { broken, size = workload.size, replay } = this.#options
    const databases = await this.#databases.of(name, workload)
    const report = await simulate({
      ...workload.options({ databases, broken }),
      seeds: { from, count },
      size,
      ...(replay !== undefined && { replay }),
      onHistory: (history) => this.#keep(name, history),
    })
    this.#add(name, report)
  }

  #keep(name: string, { seed, lines }: PlayedHistory): void {
    this.#played++
    this.#line.show(() => this.#progress(seed))
    this.#digest.update(`${name} ${seed}\n${lines.join('\n')}\n`)
    if (this.#options.history !== undefined) writeFileSync(this.#options.history, `${lines.join('\n')}\n`)
  }

  #progress(seed: number): string {
    const { minutes, count, workloads } = this.#options
    const of = minutes === undefined ? ` of ${count * workloads.length}` : ''
    return `${this.#workload} ${seed}: ${this.#played}${of} histories played`
  }

  #add(name: string, { histories, simulatedMs, faults, points }: SimulationReport): void {
    this.sum.histories += histories
    this.sum.simulatedMs += simulatedMs
    this.sum.faults += faults
    this.#pairs.add(name, points)
  }
}

/** Prints the shortest failing history, and the command that replays it. */
function printFailure(failure: SimulationFailed, workload: string, { broken, history }: SimOptions): void {
  if (history === undefined) console.log(failure.lines.join('\n'))
  else writeFileSync(history, `${failure.lines.join('\n')}\n`)
  console.log(`\n${failure.message}`)
  const { seed, size, replay } = failure
  const mistake = broken === undefined ? '' : ` --broken ${broken}`
  const given = replay === '' ? ' --calm' : ` --replay '${replay}'`
  console.log(`\nnpm run sim -- --workload ${workload} --seed ${seed} --seeds 1 --size ${size}${mistake}${given}`)
}

/** The text of a mistake in the faults that were to be played again. */
function wrongReplay(error: unknown): string | undefined {
  const said = error instanceof TypeError || error instanceof RangeError ? error.message : ''
  return said.startsWith('simulate.replay') ? `--${said.slice('simulate.'.length)}` : undefined
}

/** 0: all held. 1: an invariant did not hold. 2: nothing can be said, the command line or the run itself is wrong. */
async function main(): Promise<number> {
  let options: SimOptions
  try {
    options = resolveSim(
      parseArgs({
        options: {
          seed: { type: 'string' },
          seeds: { type: 'string' },
          minutes: { type: 'string' },
          workload: { type: 'string' },
          size: { type: 'string' },
          broken: { type: 'string' },
          replay: { type: 'string' },
          calm: { type: 'boolean' },
          pairs: { type: 'boolean' },
          mistakes: { type: 'boolean' },
          defects: { type: 'boolean' },
          defect: { type: 'string' },
          history: { type: 'string' },
          help: { type: 'boolean' },
        },
      }).values,
    )
  } catch (error) {
    if (error instanceof UsageError && error.isHelp) {
      console.log(error.message)
      return 0
    }
    const help = error instanceof UsageError ? '' : '. See npm run sim -- --help'
    console.error(`${error instanceof Error ? error.message : String(error)}${help}`)
    return 2
  }
  if (options.defects) return playDefects(options)
  const databases = new Databases()
  if (options.mistakes) {
    const code = await playMistakes(options, databases)
    await databases.close()
    return code
  }
  console.log(`seeds ${options.from} to ${options.from + options.count - 1} of ${options.workloads.join(', ')}`)
  const sim = new Sim(options, databases)
  const begunMs = performance.now()
  try {
    await sim.play()
    sim.end()
    sim.print(performance.now() - begunMs)
    return 0
  } catch (error) {
    sim.end()
    if (!(error instanceof SimulationFailed)) {
      console.error(wrongReplay(error) ?? error)
      return 2
    }
    printFailure(error, sim.workload, options)
    return 1
  } finally {
    await databases.close()
  }
}

process.exitCode = await main()
