/**
 * What a suite of faults is. The command line, the plan, the clock on the wall and the tables are the same for all;
 * a suite brings its faults, the play of one episode and the judgement of what was recorded.
 */
import type { Random } from './random.ts'

export interface Suite {
  readonly name: string
  /** In the order in which the tables show them. */
  readonly faults: readonly FaultSpec[]
  /** What must hold, by name. */
  readonly invariants: Readonly<Record<string, string>>
  /** Mistakes that can be built in (`--broken`), by name: the run has to fail then. */
  readonly mistakes: Readonly<Record<string, Mistake>>
  /** Episodes that are played side by side. @default 2 */
  readonly lanes?: number | undefined
  /** The brokers it can run on: the seeds take turns unless `--transport` names one. @default none to choose */
  readonly transports?: readonly string[] | undefined
  /** Without `--transport` a run is a run on all of them. @default false, the seeds take turns */
  readonly transportsTogether?: boolean | undefined
  /** Without `--transport` each seed is a run on one of them after the other. @default false, the seeds take turns */
  readonly transportsInTurn?: boolean | undefined
  /** How long these faults take, most often, on a machine that has nothing else to do. @default not said */
  readonly minutes?: ((faults: readonly string[], transport: string | undefined) => number) | undefined
  /** The same on other stores (`--store`), itself among them. @default none to choose */
  readonly stores?: Readonly<Record<string, () => Suite>> | undefined
  /** The same for one kind of what is tested (`--kind`), itself among them. @default none to choose */
  readonly kinds?: Readonly<Record<string, () => Suite>> | undefined
  /** What the counts of an episode are called. @default those of locks */
  readonly counted?: Counted | undefined
  /** What this machine lacks for these faults, and the remedy. */
  lack(faults: readonly string[], transport?: string): string | undefined
  open(setting: Setting): Promise<Arena>
}

export type Counted = Readonly<Record<keyof Counts | 'handOverMs', string>>

export interface FaultSpec {
  readonly name: string
  readonly what: string
  /** The only brokers that it is played at. @default all */
  readonly on?: string | readonly string[] | undefined
}

/** @param transport `undefined`: any */
export function isPlayedOn({ on }: Pick<FaultSpec | Mistake, 'on'>, transport: string | undefined): boolean {
  return on === undefined || transport === undefined || [on].flat().includes(transport)
}

export interface Mistake {
  readonly what: string
  /** The faults that bring it to light; a run with the mistake is a run of these. */
  readonly faults: readonly string[]
  /** The invariant that it breaks. */
  readonly breaks: string
  /** The only brokers that it can be built in at. @default all */
  readonly on?: string | readonly string[] | undefined
}

/** What a run gives to its suite. */
export interface Setting {
  /** For the histories; there until the end of the run. */
  readonly folder: string
  readonly seed: number
  readonly broken: string | undefined
  /** One of the suite's `transports`. */
  readonly transport: string | undefined
  readonly lanes: number
  /** Aborts when the run is given up: nothing new is begun then. */
  readonly signal: AbortSignal
}

/** The servers and processes of a run. */
export interface Arena {
  /**
   * Plays one fault in one lane, from the start of its servers to the last answer. What takes time but no attention is
   * left to `judge`, which may run beside the next episode.
   */
  play(episode: Episode): Promise<Played>
  /** Ends everything. Idempotent, never rejects. */
  close(): Promise<void>
}

export interface Episode {
  readonly number: number
  readonly round: number
  readonly lane: number
  readonly fault: string
  readonly random: Random
}

export interface Played {
  judge(): Promise<EpisodeReport>
}

export interface Counts {
  /** Asked of the system under test, whatever became of it. */
  readonly operations: number
  readonly grants: number
  readonly accepted: number
  readonly refused: number
  readonly unknown: number
}

export interface EpisodeReport {
  readonly fault: string
  /** The merged history, JSONL. */
  readonly history: string
  /** What was done to the system, and when. */
  readonly timeline: readonly string[]
  readonly counts: Counts
  /** Times between the end of one holder or leader and the next grant, in ms. */
  readonly handOverMs: readonly number[]
  /** How one sees that the fault really happened; `undefined`: it did not, and the episode shows nothing. */
  readonly happened: string | undefined
  readonly verdicts: readonly InvariantVerdict[]
  /** Kinds of operations, and whether one of each succeeded. */
  readonly succeeded: Readonly<Record<string, number>>
  /** How long each part stood still at most while the fault lasted, in ms. */
  readonly standstillsMs?: Readonly<Record<string, number>> | undefined
  /** Only for faults that no lease survives: what the fence had to catch. */
  readonly caught?: Caught | undefined
}

export interface Caught {
  /** Two that believed to hold the lock at the same time. */
  readonly overlaps: number
  readonly longestMs: number
  readonly lateWritesRefused: number
}

export interface InvariantVerdict {
  readonly invariant: string
  readonly holds: boolean
  /** The operations that show the violation, for a person to read. */
  readonly evidence: readonly string[]
  /** Under this fault it is not promised: not judged. */
  readonly notPromised?: boolean | undefined
}
