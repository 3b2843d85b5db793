/**
 * Runs a definition through every single fault: each call of each step, forward and backward, fails or is lost, before or
 * after its effect, refuses, or is terminal; once, or every time. On the pure machine, so it takes milliseconds.
 *
 * It reports every run that does not end as it must, and how the others end: `stuck` is where a person will have to
 * decide, `left` is what a compensated saga leaves behind because a step says that there is nothing to undo.
 */
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/options.ts'
import type { SagaEvent } from '../machine/event.ts'
import { advance } from '../machine/machine.ts'
import { type Operation, operationIn } from '../machine/operation.ts'
import { initialState, isEnded, openSteps, type SagaShape, type SagaState } from '../machine/state.ts'
import { FAULTS, type Fault, World } from './world.ts'

/** Options of `explore`. */
export interface ExploreOptions {
  /** Conditional steps whose condition does not hold. @default all hold */
  readonly omit?: readonly string[] | undefined
  /** Faults in one run. 2 multiplies the runs by their own number. @default 1 */
  readonly faults?: number | undefined
}

/** What goes wrong in a run. */
export interface PlannedFault {
  readonly step: string
  readonly operation: Operation
  readonly fault: Fault
  /** In the first attempt only, or in every one; a participant that is waited for without end is lost for 20 of them. */
  readonly times: 'once' | 'always'
}

/** One way a saga can go. */
export interface ExploredRun {
  readonly faults: readonly PlannedFault[]
  readonly end: SagaState['status']
  /** Steps whose effect is there at the end. */
  readonly effects: readonly string[]
}

/** Every way a saga can go under the faults that were tried. */
export interface Exploration {
  readonly runs: readonly ExploredRun[]
  /** Must be empty: what went wrong, with the faults that led there. */
  readonly problems: readonly (ExploredRun & { readonly problem: string })[]
  /** Runs in which a person has to decide. */
  readonly stuck: readonly ExploredRun[]
  /** Compensated runs that leave the effect of a step that is not undone. */
  readonly left: readonly ExploredRun[]
}

const NAMES = optionNames<ExploreOptions>({ omit: true, faults: true })
/** A participant that is waited for without end comes back after so many calls. */
const AWAY = 20
/** More events than any run needs: 50 orphaned calls, and a million attempts are cut to this. */
const MAX_EVENTS = 10_000

/** @throws TypeError / RangeError for something that is no saga, or an option that does not fit it */
export function explore(saga: SagaShape, options: ExploreOptions = {}): Exploration {
  if (!Array.isArray(saga?.steps) || saga.steps.length === 0) {
    throw new TypeError('explore: expected a saga made by defineSaga, with at least one step')
  }
  if (saga.branches !== undefined) {
    throw new TypeError(
      'explore: what the code of a global transaction calls is not known beforehand. Play single courses of it with given(...)',
    )
  }
  refuseUnknown('explore', options, NAMES)
  const omit = checkOmit(saga, options.omit ?? [])
  const most = requireInteger('explore.faults', options.faults ?? 1, 0, 3)
  // Of a group, and of confirmations, either the first or the last answers first; of other steps there is one at a time.
  const isTogether = saga.steps.some(({ group, confirm }) => group !== undefined || confirm !== undefined)
  const orders = isTogether ? (['first', 'last'] as const) : (['first'] as const)
  const results = orders.flatMap((order) => plans(saga, most).map((faults) => run(saga, faults, omit, order)))
  const runs = results.map(({ faults, end, effects }) => ({ faults, end, effects }))
  const undoable = new Map(
    saga.steps.map(({ name, compensates, awaits }) => [name, compensates || awaits !== undefined]),
  )
  return {
    runs,
    problems: results.flatMap(({ problem, ...explored }) => (problem === undefined ? [] : [{ ...explored, problem }])),
    stuck: runs.filter(({ end }) => end === 'stuck'),
    left: runs.filter(
      ({ end, effects }) => end === 'compensated' && effects.some((step) => undoable.get(step) === false),
    ),
  }
}

function checkOmit(saga: SagaShape, omit: readonly string[]): ReadonlySet<string> {
  const conditional = saga.steps.filter((step) => step.conditional === true).map(({ name }) => name)
  for (const name of omit) {
    if (!conditional.includes(name)) {
      throw invalidOption(
        'explore.omit',
        name,
        `one of the conditional steps: ${conditional.join(', ') || 'there is none'}`,
      )
    }
  }
  return new Set(omit)
}

/** No fault, each fault, each pair of faults ... */
function plans(saga: SagaShape, most: number): readonly (readonly PlannedFault[])[] {
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

/** A timer only passes; what is waited for without a limit is not lost: another saga ends, and a signal is the user's. */
function faultsOf(awaits: SagaShape['steps'][number]['awaits'], timeoutMs: number): readonly Fault[] {
  if (awaits === 'time') return []
  if (timeoutMs === Number.POSITIVE_INFINITY) return awaits === 'signal' ? [] : ['refuses', 'is terminal']
  return awaits === 'signal' ? ['lost before'] : FAULTS
}

/** One of each combination, and one fault per call. */
function isAfter(fault: PlannedFault, last: PlannedFault | undefined, order: readonly PlannedFault[]): boolean {
  if (last === undefined) return true
  const isSameCall = last.step === fault.step && last.operation === fault.operation
  return !isSameCall && order.indexOf(fault) > order.indexOf(last)
}

function run(saga: SagaShape, faults: readonly PlannedFault[], omit: ReadonlySet<string>, order: 'first' | 'last') {
  const world = new World(saga)
  const intents = new Set<string>()
  const turns = new Set<Operation>()
  let state: SagaState = initialState(saga)
  let problem: string | undefined
  let event: SagaEvent | undefined = { type: 'started' }
  for (let n = 0; event !== undefined && n < MAX_EVENTS; n++) {
    const transition = advance(saga, state, event)
    if (transition === undefined) {
      problem ??= `${event.type} was not heard in the state ${state.status}`
      break
    }
    state = transition.state
    for (const { step, operation } of transition.calls) {
      if (operation === 'invoke') intents.add(step)
      else problem ??= wrongCall(step, operation, intents, turns)
    }
    event = nextEvent(state, order, world, faults, omit)
  }
  const effects = saga.steps.map(({ name }) => name).filter((name) => world.has(name))
  return { faults, end: state.status, effects, problem: problem ?? wrongEnd(saga, state, world) }
}

/** A step that goes back or is confirmed was begun, and no saga does both. */
function wrongCall(
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

/** What the world does next; `undefined` when nothing will happen any more by itself. */
function nextEvent(
  state: SagaState,
  order: 'first' | 'last',
  world: World,
  faults: readonly PlannedFault[],
  omit: ReadonlySet<string>,
): SagaEvent | undefined {
  const waiting = openSteps(state.steps).filter((index) => state.steps[index]?.wait !== 'operator')
  const open = state.steps[waiting.at(order === 'first' ? 0 : -1) ?? -1]
  const operation = open === undefined ? undefined : operationIn(open.status)
  if (open === undefined || operation === undefined || isEnded(state.status)) return undefined
  const { step, wait, attempts } = open
  const planned = faults.find((fault) => fault.step === step && fault.operation === operation)
  const isFirst = attempts === 1 && open.orphans === undefined && open.doubt === undefined
  const isBack = (open.unanswered ?? 0) >= AWAY
  const fault = (planned?.times === 'always' && !isBack) || isFirst ? planned?.fault : undefined
  switch (wait) {
    case 'retry':
    case 'time':
      return omit.has(step) && isFirst ? { type: 'omitted', step } : { type: 'due' }
    case 'signal':
      if (omit.has(step) && isFirst) return { type: 'omitted', step }
      return fault === undefined ? { type: 'signalled', step } : { type: 'due' }
    case 'call':
    case 'reply':
      if (operation === 'invoke' && omit.has(step) && isFirst) return { type: 'omitted', step }
      return world.call(step, operation, attempts, fault)
    case 'operator':
    case undefined:
      return undefined
  }
}

function wrongEnd(saga: SagaShape, state: SagaState, world: World): string | undefined {
  switch (state.status) {
    case 'completed': {
      const missing = saga.steps.find(({ name, awaits }) => {
        const status = state.steps.find(({ step }) => step === name)?.status
        return awaits === undefined && status !== 'omitted' && !world.has(name)
      })
      if (missing !== undefined) return `it completed without the effect of "${missing.name}"`
      const isOmitted = (name: string): boolean =>
        state.steps.some(({ step, status }) => step === name && status === 'omitted')
      const open = saga.steps.find(({ name }) => world.isUnconfirmed(name) && !isOmitted(name))
      return open && `it completed, but "${open.name}" is not confirmed`
    }
    case 'compensated': {
      const left = saga.steps.find(({ name }) => world.isLeft(name))
      return left && `it is compensated, but the effect of "${left.name}" is still there`
    }
    case 'stuck':
      return undefined
    case 'running':
    case 'compensating':
      return `it does not end: it stays ${state.status}`
  }
}
