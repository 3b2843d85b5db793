/**
 * Contract of a suite of faults. The command line, the plan, the wall clock and the tables are the same for all; a
 * suite brings its faults, the play of one episode and the judgement of the records.
 */
import type { Random } from './random.ts'

export interface Suite {
  readonly name: string
  /** Faults in the order of the tables. */
  readonly faults: readonly FaultSpec[]
  /** Invariants by name. */
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
  /** Usual time of these faults on an idle machine. @default unknown */
  readonly minutes?: ((faults: readonly string[], transport: string | undefined) => number) | undefined
  /** The same on other stores (`--store`), itself among them. @default none to choose */
  readonly stores?: Readonly<Record<string, () => Suite>> | undefined
  /** The same for one kind of transaction (`--kind`), itself among them. @default none to choose */
  readonly kinds?: Readonly<Record<string, () => Suite>> | undefined
  /** Names of an episode's counts. @default those of locks */
  readonly counted?: Counted | undefined
  /** Reason and remedy when this machine cannot play these faults. */
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

/** Tools that a run gives to its suite. */
export interface Setting {
  /** Folder for the histories; exists until the end of the run. */
  readonly folder: string
  readonly seed: number
  readonly broken: string | undefined
  /** Transport, out of the suite's `transports`. */
  readonly transport: string | undefined
  readonly lanes: number
  /** Brokers have disks that lose unsynced writes when their power fails. */
  readonly losesPower?: boolean | undefined
  /** Aborts when the run is given up: nothing new starts then. */
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
  /** Operations on the system under test, with any outcome. */
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
  /** Faults done to the system, and their times. */
  readonly timeline: readonly string[]
  readonly counts: Counts
  /** Times between the end of one holder or leader and the next grant, in ms. */
  readonly handOverMs: readonly number[]
  /** Evidence that the fault really happened; `undefined`: it did not, and the episode shows nothing. */
  readonly happened: string | undefined
  readonly verdicts: readonly InvariantVerdict[]
  /** Kinds of operations, and whether one of each succeeded. */
  readonly succeeded: Readonly<Record<string, number>>
  /** Longest interruption of each part during the fault, in ms. */
  readonly standstillsMs?: Readonly<Record<string, number>> | undefined
  /** Writes that the fence had to catch, for faults that no lease survives. */
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
