/** Arguments and results of `simulate`. */

import { ConcordatError, type Logger, type SqlClient } from 'concordat/core'
import type { pgliteClient } from 'concordat/core/pglite'
import type { ClusterStore, Transport } from 'concordat/extension'
import type { createLocks, Locks } from 'concordat/locks'
import type { CoveredPoint } from './fault-coverage.ts'
import type { FaultKind, SimulatedFault } from './faults.ts'

/** Options of `simulate`: a system, its workload, and its invariants. */
export interface SimulationOptions {
  /** By name. Each has several instances, which start, are killed, and start again. */
  readonly services: Readonly<Record<string, SimulatedService>>
  /** By the name passed to `sql(name)`. @default none */
  readonly databases?: Readonly<Record<string, SimulatedDatabase>> | undefined
  /** Work of the world's clients. Faults happen while it runs; after it has resolved, everything is healed. */
  readonly workload: (world: SimulatedWorld) => Promise<void>
  /**
   * Tells with `true` or `false` whether everything that the workload started is finished. Called every half second of the
   * world's time. @default at once
   */
  readonly settled?: ((world: SimulatedWorld) => boolean | Promise<boolean>) | undefined
  /** By name; an invariant that does not hold throws or returns `false`. Called after everything is settled. */
  readonly invariants: Readonly<Record<string, (world: SimulatedWorld) => boolean | void | Promise<boolean | void>>>
  /** Seeds, one history each: a number of seeds starting at 1, or at another seed. */
  readonly seeds: number | { readonly from: number; readonly count: number }
  /** Amount of work of the workload, which reads it from the world. A failing history is run again with less. @default 4 */
  readonly size?: number | undefined
  /** Faults that may happen. @default all */
  readonly faults?: readonly FaultKind[] | undefined
  /**
   * Exactly these faults, as reported by a failure: `'1x0abcd:kill,09zzzzz:drop'`. Refused if the history holds and one has not
   * happened. @default drawn from the seed
   */
  readonly replay?: string | undefined
  /**
   * After the workload, each instance must be up and everything must be settled within this much of the world's time. @default 5
   * minutes
   */
  readonly settlesWithinMs?: number | undefined
  /** Runs a failing history again with less, up to 60 times, to find a minimal one that fails. @default true */
  readonly shorten?: boolean | undefined
  /** Called with each history that held. */
  readonly onHistory?: ((history: PlayedHistory) => void) | undefined
}

/** A service, as the world starts it. */
export interface SimulatedService {
  /** @default 2 */
  readonly instances?: number | undefined
  /**
   * Starts an instance, as its process would, and resolves when it is up. A rejection ends the process, which starts again a
   * second later. After the workload is over and everything is healed, each instance must come up within `settlesWithinMs`.
   * Instances are killed, never closed.
   */
  readonly start: (instance: SimulatedInstance) => void | Promise<void>
}

/** A database of the world, on a PGlite without other users. */
export interface SimulatedDatabase {
  readonly pglite: Parameters<typeof pgliteClient>[0]
  /** Creates tables and first rows, once. Each history starts with this state and may only change rows. */
  readonly prepare?: ((sql: SqlClient) => Promise<void>) | undefined
}

/** A process of the world, and its connections. `Date`, timers and random numbers are also those of the world. */
export interface SimulatedInstance {
  /** `bank-1`: the same after a restart. */
  readonly name: string
  readonly service: string
  /** 1 at first, increased by each start. */
  readonly generation: number
  /** A connection to the one broker. For one binder. */
  readonly transport: Transport
  /** Writes warnings and errors into the history. */
  readonly logger: Logger
  /** A pool of a database. @throws RangeError if there is none with this name */
  readonly sql: (database: string) => SqlClient
  /** Locks on the one lock server, with the `logger` above unless the options have another. */
  readonly locks: (options?: Parameters<typeof createLocks>[1]) => Locks
  /** Store on the one cluster state server. */
  readonly clusterStore: () => ClusterStore
  /** Writes a line into the history. */
  readonly note: (text: string) => void
}

/** The world, as the workload and the invariants see it. */
export interface SimulatedWorld {
  readonly seed: number
  /** The `size` of the options, or less. */
  readonly size: number
  /** A client of the servers that is not affected by faults itself; a server may be unavailable. */
  readonly client: SimulatedInstance
  /** Milliseconds of the world's time since it began. */
  readonly elapsedMs: number
  readonly sleep: (durationMs: number) => Promise<void>
  /** 0 <= x < 1, from the seed. */
  readonly random: () => number
  /** From `least` to `most`, both included. */
  readonly between: (least: number, most: number) => number
  readonly note: (text: string) => void
}

/** A history that held. */
export interface PlayedHistory {
  readonly seed: number
  readonly faults: readonly SimulatedFault[]
  /** The history, a line per event; the same for the same seed. */
  readonly lines: readonly string[]
  /** Duration of the history in the world's time. */
  readonly simulatedMs: number
}

/** Summary of all histories. */
export interface SimulationReport {
  readonly histories: number
  readonly faults: number
  readonly simulatedMs: number
  /** Places where faults could happen, and how often each did; 0: never. */
  readonly points: readonly CoveredPoint[]
}

const NOT_THE_SAME =
  'this history is not the same twice: the services have a source of chance or of time that the world does not know, or keep something from one history to the next'

/** A history in which an invariant did not hold. */
export class SimulationFailed extends ConcordatError {
  readonly code = 'testing.simulation_failed' as const
  readonly retryable = false as const
  readonly seed: number
  /** Name in `invariants`, or another condition that was not met. */
  readonly invariant: string
  /** Number of faults before shortening. */
  readonly drawnFaults: number
  /** A minimal set of faults that was found to be sufficient. */
  readonly faults: readonly SimulatedFault[]
  readonly size: number
  readonly replay: string
  readonly lines: readonly string[]
  /** True if another run was the same, line by line. Otherwise `replay` may not reproduce it. */
  readonly isRepeatable: boolean

  constructor(failure: FailedHistory, cause: Error) {
    const { seed, invariant, faults, size, lines, drawnFaults, hints, difference } = failure
    const replay = faults.map(({ id, kind }) => `${id}:${kind}`).join(',')
    const enough = `${faults.length} of ${drawnFaults} faults are enough, with size ${size}`
    super(
      [
        `seed ${seed}: "${invariant}" does not hold: ${cause.message}`,
        ...hints.map((hint) => `  ${hint}`),
        ...(difference === undefined ? [] : [`${NOT_THE_SAME}: ${difference}`]),
        faults.length === 0 ? enough : `${enough}:`,
        ...faults.map(({ kind, place }) => `  ${kind} at ${place}`),
        `play it again: seeds: { from: ${seed}, count: 1 }, size: ${size}, replay: '${replay}'`,
      ].join('\n'),
      { cause },
    )
    this.seed = seed
    this.invariant = invariant
    this.drawnFaults = drawnFaults
    this.faults = faults
    this.size = size
    this.replay = replay
    this.lines = lines
    this.isRepeatable = difference === undefined
  }
}

interface FailedHistory {
  readonly seed: number
  readonly invariant: string
  readonly faults: readonly SimulatedFault[]
  readonly drawnFaults: number
  readonly size: number
  readonly lines: readonly string[]
  /** Other irregularities that may be the cause. */
  readonly hints: readonly string[]
  /** The first difference in another run. */
  readonly difference: string | undefined
}
