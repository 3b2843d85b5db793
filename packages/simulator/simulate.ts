import { pgliteClient } from 'concordat/core/pglite'
import {
  invalidOption,
  optionNames,
  refuseUnknown,
  requireFunction,
  requireInteger,
  wrongKind,
} from 'concordat/extension'
import { FaultCoverage } from './fault-coverage.ts'
import {
  DrawnFaults,
  FAULT_KINDS,
  type FaultKind,
  type GivenFault,
  GivenFaults,
  type SimulatedFault,
} from './faults.ts'
import { installWorld } from './process/install.ts'
import { keepForRestoring } from './restore-database.ts'
import { type Play, type Played, type PlayedDatabase, play } from './run-seeded-history.ts'
import { fewestFaults } from './shrink.ts'
import { SimulationFailed, type SimulationOptions, type SimulationReport } from './simulate-options.ts'

const NAMES = optionNames<SimulationOptions>({
  services: true,
  databases: true,
  workload: true,
  settled: true,
  invariants: true,
  seeds: true,
  size: true,
  faults: true,
  replay: true,
  settlesWithinMs: true,
  shorten: true,
  onHistory: true,
})
const DEFAULT_SIZE = 4
/** Maximum number of runs to shorten one failing history. */
const MOST_PLAYS = 60

/** Simulations run one after the other, because a process can contain one world at a time. */
let last: Promise<unknown> = Promise.resolve()

/**
 * Runs a system of several services with several instances each, in this process, once for each seed: time, randomness, servers
 * and faults are those of a world. A seed always gives the same history.
 *
 * Code of the services sees the time, timers and random numbers of its world; other code of the process is not affected. No code
 * of a service may wait for anything outside of the process: a history in which it opens a connection fails.
 * @throws SimulationFailed for the first seed that fails, with the shortest failing history that was found
 * @throws TypeError / RangeError with the name of the option
 */
export function simulate(options: SimulationOptions): Promise<SimulationReport> {
  const mine = last.then(() => simulateAlone(options))
  last = mine.catch(() => {})
  return mine
}

async function simulateAlone(options: SimulationOptions): Promise<SimulationReport> {
  const { from, count, given } = checked(options)
  const databases = await opened(options)
  const coverage = new FaultCoverage()
  const uninstall = installWorld()
  const sum = { faults: 0, simulatedMs: 0 }
  const restore = async (): Promise<void> => {
    uninstall()
    for (const database of databases.values()) await database.restore(from)
  }
  try {
    for (let seed = from; seed < from + count; seed++) {
      const { fired, simulatedMs, lines } = await playSeed({ options, databases, coverage }, seed, given)
      sum.faults += fired.length
      sum.simulatedMs += simulatedMs
      options.onHistory?.({ seed, faults: fired, lines, simulatedMs })
    }
  } catch (error) {
    // A dropped table cannot be filled again: the earlier failure is the one to report.
    await restore().catch(() => {})
    throw error
  }
  await restore()
  return { histories: count, ...sum, points: coverage.points }
}

/** @throws SimulationFailed */
async function playSeed(what: Play, seed: number, given: readonly GivenFault[] | undefined): Promise<Played> {
  const size = what.options.size ?? DEFAULT_SIZE
  const plan = given === undefined ? new DrawnFaults(seed, what.options.faults) : new GivenFaults(given)
  const played = await play(what, { seed, size, plan })
  if (played.failure === undefined) {
    if (plan instanceof GivenFaults) requireMet(plan, seed)
    return played
  }
  const drawn = { played, size }
  const shortest = what.options.shorten === false ? drawn : await shortened(what, seed, drawn)
  const { failure, fired: faults, lines } = shortest.played
  const { error, ...failed } = failure ?? played.failure
  const difference = await differenceOfAnother(what, seed, shortest)
  throw new SimulationFailed(
    { seed, ...failed, faults, drawnFaults: played.fired.length, size: shortest.size, lines, difference },
    error,
  )
}

/** Runs it once more, as the reader of the report will. @returns the first difference; `undefined` without one */
async function differenceOfAnother(what: Play, seed: number, { played, size }: Sized): Promise<string | undefined> {
  const quiet = { ...what, coverage: new FaultCoverage() }
  const another = await play(quiet, { seed, size, plan: new GivenFaults(played.fired) })
  const length = Math.max(played.lines.length, another.lines.length)
  for (let n = 0; n < length; n++) {
    const [was, is] = [played.lines[n], another.lines[n]].map((line) => line?.trim() ?? 'nothing')
    if (was !== is) return `line ${n + 1} was "${was}", and then "${is}"`
  }
  return undefined
}

/** If the history differs from the one of the replay, its success says nothing. @throws TypeError */
function requireMet({ missing }: GivenFaults, seed: number): void {
  if (missing.length === 0) return
  throw new TypeError(
    `simulate.replay: seed ${seed} held, but ${missing.join(', ')}: the code has changed since, or this is another seed or size. ` +
      'Play the seed without `replay`',
  )
}

interface Sized {
  readonly played: Played
  readonly size: number
}

/** The same failure with less. */
async function shortened(what: Play, seed: number, drawn: Sized): Promise<Sized> {
  const invariant = drawn.played.failure?.invariant
  const quiet = { ...what, coverage: new FaultCoverage() }
  const fails = async (faults: readonly SimulatedFault[], size: number): Promise<Played | undefined> => {
    const played = await play(quiet, { seed, size, plan: new GivenFaults(faults) })
    return played.failure?.invariant === invariant ? played : undefined
  }
  let least = drawn
  for (let size = 1; size < drawn.size; size++) {
    const played = await fails(least.played.fired, size)
    if (played === undefined) continue
    least = { played, size }
    break
  }
  const { size } = least
  const fewest = await fewestFaults(least.played.fired, (faults) => fails(faults, size), MOST_PLAYS)
  return fewest === undefined ? least : { played: fewest.outcome, size }
}

async function opened({ databases = {} }: SimulationOptions): Promise<ReadonlyMap<string, PlayedDatabase>> {
  const all = new Map<string, PlayedDatabase>()
  for (const [name, { pglite, prepare }] of Object.entries(databases)) {
    const sql = pgliteClient(pglite)
    await prepare?.(sql)
    all.set(name, { sql, ...(await keepForRestoring(sql)) })
  }
  return all
}

interface Checked {
  readonly from: number
  readonly count: number
  readonly given: readonly GivenFault[] | undefined
}

/** @throws TypeError / RangeError with the name of the option */
function checked(options: SimulationOptions): Checked {
  const path = 'simulate'
  refuseUnknown(path, options, NAMES)
  const { services, workload, invariants, settled, seeds, size, settlesWithinMs, faults, replay } = options
  for (const [name, value] of Object.entries({ services, invariants })) {
    if (typeof value !== 'object' || value === null || Object.keys(value).length === 0)
      throw wrongKind(`${path}.${name}`, value, 'an object with at least one entry')
  }
  for (const [name, { start, instances }] of Object.entries(services)) {
    requireFunction(`${path}.services.${name}.start`, start)
    if (instances !== undefined) requireInteger(`${path}.services.${name}.instances`, instances, 1)
  }
  for (const [name, holds] of Object.entries(invariants)) requireFunction(`${path}.invariants.${name}`, holds)
  requireFunction(`${path}.workload`, workload)
  if (settled !== undefined) requireFunction(`${path}.settled`, settled)
  if (size !== undefined) requireInteger(`${path}.size`, size, 1)
  if (settlesWithinMs !== undefined) requireInteger(`${path}.settlesWithinMs`, settlesWithinMs, 1)
  for (const kind of faults ?? []) requireKind(`${path}.faults`, kind)
  const { from, count } = typeof seeds === 'number' ? { from: 1, count: seeds } : seeds
  return {
    from: requireInteger(`${path}.seeds.from`, from, 0),
    count: requireInteger(`${path}.seeds.count`, count, 1),
    given: replay === undefined ? undefined : faultsIn(replay),
  }
}

function faultsIn(replay: string): readonly GivenFault[] {
  return replay
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const [id = '', kind = ''] = part.split(':')
      return { id, kind: requireKind('simulate.replay', kind) }
    })
}

function requireKind(path: string, value: string): FaultKind {
  const kind = FAULT_KINDS.find((each) => each === value)
  if (kind === undefined) throw invalidOption(path, value, `one of ${FAULT_KINDS.join(', ')}`)
  return kind
}
