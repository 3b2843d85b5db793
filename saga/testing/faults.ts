/** Faults of a run, and conditions that hold in every run. */
import { type Operation } from '../machine/operation.ts'
import type { SagaShape, StepState } from '../machine/state.ts'
import { FAULTS, type Fault } from './simulated-effects.ts'

/** A fault of a run. */
export interface PlannedFault {
  readonly step: string
  readonly operation: Operation
  readonly fault: Fault
  /** In the first attempt only, or in every one; for a participant that is awaited without limit, in 20 of them. */
  readonly times: 'once' | 'always'
}

/** Number of calls after which an awaited participant returns. */
const AWAY = 20
/** More events than any run needs: 50 orphaned calls, with a million attempts cut to this. */
export const MAX_EVENTS = 10_000

/** Returns the plans: no fault, each fault, each pair of faults ... */
export function plans(saga: SagaShape, most: number): readonly (readonly PlannedFault[])[] {
  const single = saga.steps.flatMap(({ name: step, compensates, confirm, awaits, timeoutMs }) =>
    operationsOf(compensates, confirm !== undefined).flatMap((operation) =>
      faultsOf(awaits, timeoutMs).flatMap((fault) =>
        (['once', 'always'] as const).map((times) => ({ step, operation, fault, times })),
      ),
    ),
  )
  let all: (readonly PlannedFault[])[] = [[]]
  let longest: (readonly PlannedFault[])[] = [[]]
  for (let n = 1; n <= most; n++) {
    longest = longest.flatMap((plan) =>
      single.filter((fault) => isAfter(fault, plan.at(-1), single)).map((fault) => [...plan, fault]),
    )
    all = [...all, ...longest]
  }
  return all
}

function operationsOf(compensates: boolean, confirms: boolean): readonly Operation[] {
  return ['invoke', ...(confirms ? (['confirm'] as const) : []), ...(compensates ? (['compensate'] as const) : [])]
}

/**
 * Returns possible faults. A timer only passes; waits without a limit are not lost: another saga ends, and a signal depends on
 * the user.
 */
function faultsOf(awaits: SagaShape['steps'][number]['awaits'], timeoutMs: number): readonly Fault[] {
  if (awaits === 'time' || awaits === 'plan') return []
  if (timeoutMs === Number.POSITIVE_INFINITY) return awaits === 'signal' ? [] : ['refuses', 'is terminal']
  return awaits === 'signal' ? ['lost before'] : FAULTS
}

/** Orders faults so that each combination occurs once, with one fault per call. */
function isAfter(fault: PlannedFault, last: PlannedFault | undefined, order: readonly PlannedFault[]): boolean {
  if (last === undefined) return true
  const isSameCall = last.step === fault.step && last.operation === fault.operation
  return !isSameCall && order.indexOf(fault) > order.indexOf(last)
}

/** Returns an illegal call, if any: a step that is undone or confirmed must have begun, and no saga does both. */
export function wrongCall(
  step: string,
  operation: Operation,
  intents: ReadonlySet<string>,
  turns: Set<Operation>,
): string | undefined {
  const what = operation === 'confirm' ? 'confirmation' : 'compensation'
  if (!intents.has(step)) return `the ${what} of "${step}" was called without its intent`
  turns.add(operation)
  return turns.size > 1 ? `the ${what} of "${step}" was called after the saga had gone the other way` : undefined
}

/** Returns the fault of the call that an open step waits for. */
export function faultAt(
  { step, attempts, orphans, doubt, unanswered = 0 }: StepState,
  operation: Operation,
  faults: readonly PlannedFault[],
): Fault | undefined {
  const planned = faults.find((fault) => fault.step === step && fault.operation === operation)
  return (planned?.times === 'always' && unanswered < AWAY) || isFirst({ attempts, orphans, doubt })
    ? planned?.fault
    : undefined
}

/** Tells whether there was no call before. */
export function isFirst({ attempts, orphans, doubt }: Pick<StepState, 'attempts' | 'orphans' | 'doubt'>): boolean {
  return attempts === 1 && orphans === undefined && doubt === undefined
}
