import { isPlayed } from './defects/defect.ts'
import { DEFECTS } from './defects/defects.ts'
import { WORKLOADS } from './workloads.ts'

/** A mistake in the command line, or a wish for help. */
export class UsageError extends Error {
  readonly isHelp: boolean

  constructor(message: string, isHelp = false) {
    super(message)
    this.isHelp = isHelp
  }
}

export interface SimOptions {
  readonly from: number
  readonly count: number
  readonly minutes: number | undefined
  readonly workloads: readonly string[]
  readonly size: number | undefined
  readonly broken: string | undefined
  readonly replay: string | undefined
  readonly pairs: boolean
  readonly mistakes: boolean
  readonly defects: boolean
  /** Name of the only defect to play. */
  readonly defect: string | undefined
  readonly history: string | undefined
}

type Given = Readonly<Record<string, string | boolean | undefined>>

const SEEDS = 100
const MANY = 1_000_000_000

/** @throws UsageError */
export function resolveSim(given: Given): SimOptions {
  if (given['help'] === true) throw new UsageError(help(), true)
  const text = (name: string): string | undefined => (typeof given[name] === 'string' ? given[name] : undefined)
  const whole = (name: string, least: number): number | undefined => wholeOf(name, text(name), least)
  const broken = text('broken')
  const workloads = text('workload')?.split(',') ?? withMistake(broken)
  for (const name of workloads) {
    if (!Object.hasOwn(WORKLOADS, name))
      throw new UsageError(`--workload ${name}: one of ${Object.keys(WORKLOADS).join(', ')}`)
    if (broken !== undefined && !Object.hasOwn(WORKLOADS[name]?.mistakes ?? {}, broken)) {
      throw new UsageError(`--broken ${broken}: ${name} has ${Object.keys(WORKLOADS[name]?.mistakes ?? {}).join(', ')}`)
    }
  }
  const minutes = whole('minutes', 1)
  const replay = given['calm'] === true ? '' : text('replay')
  if (replay !== undefined && (workloads.length > 1 || given['seed'] === undefined))
    throw new UsageError('--replay and --calm are of one history: name its --workload and its --seed')
  return {
    from: whole('seed', 0) ?? Math.floor(Date.now() / 1_000),
    count: whole('seeds', 1) ?? (minutes === undefined ? SEEDS : MANY),
    minutes,
    workloads,
    size: whole('size', 1),
    broken,
    replay,
    pairs: given['pairs'] === true,
    mistakes: given['mistakes'] === true,
    defects: given['defects'] === true || given['defect'] !== undefined,
    defect: playedDefect(text('defect')),
    history: text('history'),
  }
}

function withMistake(broken: string | undefined): readonly string[] {
  const names = Object.keys(WORKLOADS)
  if (broken === undefined) return names
  const found = names.filter((name) => Object.hasOwn(WORKLOADS[name]?.mistakes ?? {}, broken))
  if (found.length > 0) return found
  throw new UsageError(`--broken ${broken}: no workload has this mistake. See --help`)
}

function playedDefect(name: string | undefined): string | undefined {
  if (name === undefined) return undefined
  const defect = Object.hasOwn(DEFECTS, name) ? DEFECTS[name] : undefined
  if (defect === undefined) throw new UsageError(`--defect ${name}: one of ${Object.keys(DEFECTS).join(', ')}`)
  if (!isPlayed(defect)) throw new UsageError(`--defect ${name} is not played: ${defect.notPlayed}. See ${defect.test}`)
  return name
}

function wholeOf(name: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new UsageError(`--${name}: expected a whole number >= ${least}, got "${text}"`)
}

function help(): string {
  const lines = Object.entries(WORKLOADS).flatMap(([name, { about, mistakes }]) => [
    `  ${name}: ${about}`,
    ...Object.entries(mistakes).map(([mistake, does]) => `    --broken ${mistake}: ${does}`),
  ])
  return `npm run sim -- [--seed N] [--seeds COUNT] [--minutes M] [--workload NAME,...] [--size N] [--pairs]
            [--mistakes] [--defects] [--defect NAME] [--history FILE]

  --seed N        the first seed; without it a new one
  --seeds COUNT   so many seeds of each workload (${SEEDS})
  --minutes M     until then, with new seeds
  --size N        how much each history does
  --broken NAME   with a mistake built in: the run has to fail
  --replay LIST   these faults alone, as a failure prints them; --calm: none
  --mistakes      each mistake that can be built in, until it is found; fails unless it is within --seeds
  --defects       each defect that the package once had, put back in a process of its own, until it is found; fails as
                  --mistakes does, or when its workload does not hold without it
  --defect NAME   that one alone, such as saga-outbox/H1: see test/sim/defects
  --pairs         lists what could happen and never did
  --history FILE  writes the last history, or the one that failed, to a file

${lines.join('\n')}`
}
