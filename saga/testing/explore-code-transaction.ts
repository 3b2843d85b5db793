/**
 * `explore` for a transaction that is plain code. The branches that the code calls are given; it tries the ways to call them and
 * to end: awaited or not, continuing after a refusal or not, returning, throwing, or dying after any call.
 */
import { invalidOption } from '../../core/errors.ts'
import type { SagaEvent } from '../machine/event.ts'
import { advance } from '../machine/machine.ts'
import { type Operation, operationIn } from '../machine/operation.ts'
import {
  initialState,
  openSteps,
  type SagaShape,
  type SagaState,
  type StepShape,
  type StepState,
} from '../machine/state.ts'
import { branchShape } from '../machine/step-shape-lookup.ts'
import { faultAt, MAX_EVENTS, type PlannedFault, plans, wrongCall } from './faults.ts'
import { SimulatedEffects } from './simulated-effects.ts'

/** All runs, and the steps that can occur. */
export interface ExploredRuns {
  readonly results: readonly {
    readonly faults: readonly PlannedFault[]
    readonly end: SagaState['status']
    readonly effects: readonly string[]
    readonly problem: string | undefined
  }[]
  readonly steps: readonly StepShape[]
}

/** A variant of the code, and its end. */
interface Code {
  readonly calls: readonly { readonly step: string; readonly branch: string }[]
  readonly awaits: 'each' | 'all' | 'none'
  /** True if it continues after a refused branch. */
  readonly isLenient: boolean
  /** Number of calls after which it throws or its process dies; `undefined`: it returns. */
  readonly ends: { readonly after: number; readonly how: 'throws' | 'dies' } | undefined
  /** Which of the concurrent calls is answered first. */
  readonly order: 'first' | 'last'
}

const ERROR = { code: 'explore', message: 'explored' }

/** @throws TypeError for a branch that the transaction does not list */
export function exploreCode(
  saga: SagaShape,
  {
    calls: given,
    faults: most = 1,
  }: { readonly calls?: readonly string[] | undefined; readonly faults?: number | undefined },
): ExploredRuns {
  const names = Object.keys(saga.branches ?? {})
  const calls = (given ?? names).map((branch, n) => ({ step: `${n + 1}.${branch}`, branch }))
  const unknown = calls.find(({ branch }) => !names.includes(branch))
  if (unknown !== undefined) throw invalidOption('explore.calls', unknown.branch, `branches out of ${names.join(', ')}`)
  const shapes = calls.map(({ step, branch }) => branchShape(saga, { step, branch, status: 'pending', attempts: 0 }))
  const whole: SagaShape = { steps: [...saga.steps, ...shapes] }
  const faultsOfBranches = plans({ steps: shapes }, most)
  const results = codes(calls).flatMap((code) => faultsOfBranches.map((faults) => run(saga, whole, code, faults)))
  return { results, steps: whole.steps }
}

function codes(calls: Code['calls']): readonly Code[] {
  const places = Array.from({ length: calls.length + 1 }, (_, after) => after)
  const ends = [undefined, ...places.flatMap((after) => (['throws', 'dies'] as const).map((how) => ({ after, how })))]
  return (['each', 'all', 'none'] as const).flatMap((awaits) =>
    [false, true].flatMap((isLenient) =>
      ends.flatMap((end) =>
        (['first', 'last'] as const).map((order) => ({ calls, awaits, isLenient, ends: end, order })),
      ),
    ),
  )
}

function run(saga: SagaShape, whole: SagaShape, code: Code, faults: readonly PlannedFault[]) {
  const world = new SimulatedEffects(whole)
  const intents = new Set<string>()
  const turns = new Set<Operation>()
  let state = initialState(saga)
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
    event = nextEvent(code, state, world, faults)
  }
  const effects = code.calls.map(({ step }) => step).filter((step) => world.has(step))
  const end = code.ends && endOf(saga, code.ends.how)
  const all = end === undefined ? faults : [...faults, end]
  return { faults: all, end: state.status, effects, problem: problem ?? wrongEnd(state, world) }
}

function endOf({ steps: [code] }: SagaShape, how: 'throws' | 'dies'): PlannedFault {
  const fault = how === 'throws' ? 'fails before' : 'lost before'
  return { step: code?.name ?? '', operation: 'invoke', fault, times: 'once' }
}

/** Returns the next event of the code or the world; `undefined` when nothing more happens by itself. */
function nextEvent(
  code: Code,
  state: SagaState,
  world: SimulatedEffects,
  faults: readonly PlannedFault[],
): SagaEvent | undefined {
  const [own] = state.steps
  const isCoding = own?.wait === 'call'
  const waiting = openSteps(state.steps).flatMap((index) => {
    const step = state.steps[index]
    return step === undefined || step === own || step.wait === 'operator' ? [] : [step]
  })
  const said = isCoding && own !== undefined ? codeEvent(code, state, own.step, waiting.length > 0) : undefined
  if (said !== undefined) return said
  const open = waiting.at(code.order === 'first' ? 0 : -1)
  const operation = open && operationIn(open.status)
  if (open === undefined || operation === undefined) return undefined
  const { step, wait, attempts } = open
  const event: SagaEvent =
    wait === 'retry' ? { type: 'due' } : world.call(step, operation, attempts, faultAt(open, operation, faults))
  // While code runs, the poller skips the transaction.
  return event.type === 'due' && isCoding ? { type: 'late', step } : event
}

/** Returns the code's next event; `undefined`: it waits. */
function codeEvent(
  { calls, awaits, isLenient, ends }: Code,
  { steps, cancel }: SagaState,
  step: string,
  isWaiting: boolean,
): SagaEvent | undefined {
  const operation = 'invoke'
  const branches = steps.slice(1)
  const threw = { type: 'failed', step, operation, error: ERROR, terminal: true } as const
  if (cancel !== undefined) return threw
  const [next] = calls.slice(branches.length)
  const isSeen = awaits !== 'none' && !(awaits === 'all' && next !== undefined)
  if (isSeen && !isLenient && branches.some(isRefused)) return { type: 'refused', step, operation, error: ERROR }
  const mayGoOn = !isWaiting || awaits === 'none' || (awaits === 'all' && next !== undefined)
  if (!mayGoOn) return undefined
  if (ends?.after === branches.length) return ends.how === 'throws' ? threw : { type: 'due' }
  return next === undefined ? { type: 'succeeded', step, operation } : { type: 'branched', ...next }
}

function isRefused({ status }: StepState): boolean {
  return status === 'refused'
}

function wrongEnd({ status, steps }: SagaState, world: SimulatedEffects): string | undefined {
  const branches = steps.slice(1)
  switch (status) {
    case 'completed': {
      const half = branches.find(
        ({ step, status: its }) => !isRefused({ status: its } as StepState) && world.isUnconfirmed(step),
      )
      if (half !== undefined) return `it completed, but "${half.step}" is not confirmed`
      const odd = branches.find((each) => isRefused(each) && world.has(each.step))
      return odd && `it completed, and "${odd.step}", which was refused, has an effect`
    }
    case 'compensated': {
      const left = branches.find(({ step }) => world.isLeft(step))
      return left && `it is compensated, but the effect of "${left.step}" is still there`
    }
    case 'stuck':
      return undefined
    case 'running':
    case 'compensating':
      return `it does not end: it stays ${status}`
  }
}
