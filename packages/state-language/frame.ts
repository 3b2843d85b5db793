/** A run of a machine: its executions and results so far. Rebuilt in each replay. */

import { compensationVerdict, type Execution, machineVerdict } from './execution-verdicts.ts'
import { engineError, type Thrown } from './java-exceptions.ts'
import type { StateMachine, TaskState, Verdict } from './machine-types.ts'

/** A visit of a loop by a run. The parts that a forward repeats belong to the same visit. */
export interface LoopVisit {
  readonly state: TaskState
}

/** An execution of a sub-machine has its own frame. */
export interface FramedExecution extends Execution {
  readonly frame: Frame | undefined
  /** The row whose key its call uses: its own, or that of the first execution that it repeats. */
  readonly keyRow: string
  /** The loop whose item it is. */
  readonly visit: LoopVisit | undefined
}

/** Fields of an execution at its beginning. */
type Begun = Pick<FramedExecution, 'row' | 'name' | 'state'> &
  Partial<Pick<FramedExecution, 'frame' | 'keyRow' | 'visit'>>

export class Frame {
  readonly machine: StateMachine
  /** Prefix of the names of its rows. */
  readonly prefix: string
  context: Record<string, unknown>
  readonly executions: FramedExecution[] = []
  /** `undefined`: it runs. */
  verdict: Verdict | undefined
  /** `RU`: it compensates; `undefined`: it never did. */
  compensation: Verdict | 'RU' | undefined
  /** The exception that ended it, or the last one that it caught. */
  thrown: Thrown | undefined
  /** Error found by the engine, passed to the caller. */
  raised: Thrown | undefined
  isFailEnd = false
  isForward = false
  /** The last exception that no verdict has cleared. */
  exception: Thrown | undefined
  /** Compensations of the present round, and the number not made yet. */
  undoing: Execution[] = []
  left = 0
  /** The loop that the engine could not finish: a forward makes the remaining items. */
  openLoop: LoopVisit | undefined
  /** Number of visits of each loop. */
  readonly #passes = new Map<string, number>()

  constructor(machine: StateMachine, prefix: string, context: Readonly<Record<string, unknown>>) {
    this.machine = machine
    this.prefix = prefix
    this.context = withoutNulls(context)
  }

  execution({ row, name, state, frame, keyRow = row, visit }: Begun): FramedExecution {
    const made = { verdict: undefined, isSuperseded: false, compensation: undefined }
    const execution: FramedExecution = { row, name, state, frame, keyRow, visit, ...made }
    this.executions.push(execution)
    return execution
  }

  /** The number of this pass through a loop: 0, 1, and so on, the same in each replay. */
  pass(state: TaskState): number {
    const pass = this.#passes.get(state.name) ?? 0
    this.#passes.set(state.name, pass + 1)
    return pass
  }

  /** The run has reached an end state, or a state without a next one. */
  end(): void {
    this.thrown = this.exception ?? this.thrown
    if (this.compensation === 'RU') {
      this.verdict ??= 'UN'
      this.compensation = compensationVerdict(this.undoing, this.left)
    } else this.verdict ??= machineVerdict(this.executions, this.exception, this.isFailEnd)
    if (this.compensation !== undefined && this.isForward && this.verdict === 'SU') this.compensation = 'FA'
  }

  /** An uncaught exception ends it. */
  fail(thrown: Thrown): void {
    if (this.verdict === undefined) this.verdict = machineVerdict(this.executions, thrown, true)
    else this.compensation = 'UN'
    this.thrown = thrown
  }

  /** The engine cannot continue it. */
  raise(code: string, message: string): Thrown {
    const thrown = engineError(code, `${this.machine.name}: ${message}`)
    this.fail(thrown)
    this.raised = thrown
    return thrown
  }

  /** Verdict for a machine that calls this one. @param isForward of the calling machine */
  verdictForCaller(isForward: boolean): Verdict {
    const { verdict = 'UN', compensation } = this
    if (isForward && verdict === 'SU') return 'SU'
    if (compensation === undefined || compensation === 'FA') return verdict
    return compensation === 'SU' ? 'FA' : 'UN'
  }
}

export function withoutNulls(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined))
}
