/**
 * Runs a definition with every single fault: each call of each step, forward and backward, fails or is lost, before or after its
 * effect, refuses, or fails permanently; once, or every time. Uses the pure machine, so it takes milliseconds.
 *
 * It reports every run that does not end correctly, and how the others end: `stuck` runs need an operator's decision, `left` are
 * compensated runs that leave the effect of a step with nothing to undo.
 */
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { SagaEvent } from '../machine/event.ts'
import { advance } from '../machine/machine.ts'
import { type Operation, operationIn } from '../machine/operation.ts'
import { initialState, isEnded, openSteps, type SagaShape, type SagaState, type StepShape } from '../machine/state.ts'
import { itemName, itemShape } from '../machine/step-shape-lookup.ts'
import { type ExploredRuns, exploreCode } from './explore-code-transaction.ts'
import { faultAt, isFirst, MAX_EVENTS, type PlannedFault, plans, wrongCall } from './faults.ts'
import { SimulatedEffects } from './simulated-effects.ts'

/** Options of `explore`. */
export interface ExploreOptions {
  /** Conditional steps whose condition does not hold. @default all hold */
  readonly omit?: readonly string[] | undefined
  /** Number of items in each list, 0 to 5. @default 2 */
  readonly items?: number | undefined
  /** Number of faults per run. 2 squares the number of runs. @default 1 */
  readonly faults?: number | undefined
  /**
   * For a global transaction: the branches that its code calls, in this order; a branch may occur several times. Runs include
   * code that awaits them one after the other, all together, or not at all; that continues after a refused one or not; that
   * throws, and whose process dies, after any of them. @default each branch once
   */
  readonly calls?: readonly string[] | undefined
}

/** A possible course of a saga. */
export interface ExploredRun {
  readonly faults: readonly PlannedFault[]
  readonly end: SagaState['status']
  /** Steps whose effect exists at the end. */
  readonly effects: readonly string[]
}

/** All courses of a saga under the faults. */
export interface Exploration {
  readonly runs: readonly ExploredRun[]
  /** Errors, with the faults that led to them. Must be empty. */
  readonly problems: readonly (ExploredRun & { readonly problem: string })[]
  /** Runs in which an operator has to decide. */
  readonly stuck: readonly ExploredRun[]
  /** Compensated runs that leave the effect of a step that is not undone. */
  readonly left: readonly ExploredRun[]
}

const NAMES = optionNames<ExploreOptions>({ omit: true, items: true, faults: true, calls: true })
/** Explores a saga. @throws TypeError / RangeError for a value that is not a saga, or an option that does not apply to it */
export function explore(saga: SagaShape, options: ExploreOptions = {}): Exploration {
  if (!Array.isArray(saga?.steps) || saga.steps.length === 0) {
    throw new TypeError('explore: expected a saga made by defineSaga, with at least one step')
  }
  if (saga.script !== undefined) {
    throw new TypeError(
      'explore: what a machine of the state language does is for its expressions to say. Play single courses of it with given(...)',
    )
  }
  refuseUnknown('explore', options, NAMES)
  if (saga.branches !== undefined) return explored(exploreCode(saga, options))
  if (options.calls !== undefined) {
    throw invalidOption(
      'explore.calls',
      options.calls,
      'nothing: the steps of a saga are known. It is for global transactions',
    )
  }
  const omit = checkOmit(saga, options.omit ?? [])
  const most = requireInteger('explore.faults', options.faults ?? 1, 0, 3)
  const items = requireInteger('explore.items', options.items ?? 2, 0, 5)
  // In a group, and among confirmations, either the first or the last is answered first; other steps run one at a time.
  const isTogether = saga.steps.some(
    ({ group, confirm, each }) =>
      group !== undefined || (each?.item.confirm ?? confirm) !== undefined || (each?.atOnce ?? 1) > 1,
  )
  const orders = isTogether ? (['first', 'last'] as const) : (['first'] as const)
  const whole = { ...saga, steps: spread(saga, items) }
  const results = courses(saga).flatMap((chosen) =>
    orders.flatMap((order) =>
      plans(whole, most).map((faults) => run({ saga, whole, items, chosen, omit, order }, faults)),
    ),
  )
  return explored({ results, steps: whole.steps })
}

/** Sorts the results of the runs. */
function explored({ results, steps }: ExploredRuns): Exploration {
  const runs = results.map(({ faults, end, effects }) => ({ faults, end, effects }))
  const undoable = new Map(steps.map(({ name, compensates, awaits }) => [name, compensates || awaits !== undefined]))
  return {
    runs,
    problems: results.flatMap(({ problem, ...one }) => (problem === undefined ? [] : [{ ...one, problem }])),
    stuck: runs.filter(({ end }) => end === 'stuck'),
    left: runs.filter(
      ({ end, effects }) => end === 'compensated' && effects.some((step) => undoable.get(step) === false),
    ),
  }
}

/** Choices shared by all runs: branches, and the order of replies. */
interface Course {
  readonly saga: SagaShape
  /** Shape of the saga with the items of its lists. */
  readonly whole: SagaShape
  readonly items: number
  readonly chosen: ReadonlyMap<string, string>
  readonly omit: ReadonlySet<string>
  readonly order: 'first' | 'last'
}

/** Returns the steps with the items of each list after it. */
function spread({ steps }: SagaShape, items: number): readonly StepShape[] {
  return steps.flatMap((step) => {
    if (step.each === undefined) return [step]
    return [step, ...Array.from({ length: items }, (_, n) => itemShape(step, itemName(step.name, n)))]
  })
}

/** Returns every combination of choices. */
function courses({ steps }: SagaShape): readonly ReadonlyMap<string, string>[] {
  let all: readonly ReadonlyMap<string, string>[] = [new Map()]
  for (const { name, chooses = [] } of steps) {
    if (chooses.length > 0) all = all.flatMap((one) => chooses.map((branch) => new Map([...one, [name, branch]])))
  }
  return all
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

function run(course: Course, faults: readonly PlannedFault[]) {
  const { saga, whole } = course
  const world = new SimulatedEffects(whole)
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
    event = nextEvent(course, state, world, faults)
  }
  const effects = whole.steps.map(({ name }) => name).filter((name) => world.has(name))
  return { faults, end: state.status, effects, problem: problem ?? wrongEnd(whole, state, world) }
}

/** Returns the next event of the world; `undefined` when nothing more happens by itself. */
function nextEvent(
  { order, omit, items, chosen }: Course,
  state: SagaState,
  world: SimulatedEffects,
  faults: readonly PlannedFault[],
): SagaEvent | undefined {
  const waiting = openSteps(state.steps).filter((index) => state.steps[index]?.wait !== 'operator')
  const open = state.steps[waiting.at(order === 'first' ? 0 : -1) ?? -1]
  const operation = open === undefined ? undefined : operationIn(open.status)
  const isOver = isEnded(state.status) || state.status === 'stuck'
  if (open === undefined || operation === undefined || isOver) return undefined
  const { step, wait, attempts } = open
  const isBegin = isFirst(open)
  const fault = faultAt(open, operation, faults)
  switch (wait) {
    case 'retry':
    case 'time':
      return omit.has(step) && isBegin ? { type: 'omitted', step } : { type: 'due' }
    case 'plan': {
      if (omit.has(step)) return { type: 'omitted', step }
      const branch = chosen.get(step)
      if (branch !== undefined) return { type: 'chosen', step, branch }
      return { type: 'planned', step, items: Array.from({ length: items }, (_, n) => n) }
    }
    case 'signal':
      if (omit.has(step) && isBegin) return { type: 'omitted', step }
      return fault === undefined ? { type: 'signalled', step } : { type: 'due' }
    case 'call':
    case 'reply':
      if (operation === 'invoke' && omit.has(step) && isBegin) return { type: 'omitted', step }
      return world.call(step, operation, attempts, fault)
    case 'operator':
    case undefined:
      return undefined
  }
}

function wrongEnd(saga: SagaShape, state: SagaState, world: SimulatedEffects): string | undefined {
  switch (state.status) {
    case 'completed': {
      const missing = saga.steps.find(({ name, awaits }) => {
        const status = state.steps.find(({ step }) => step === name)?.status
        return awaits === undefined && status !== undefined && status !== 'omitted' && !world.has(name)
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
