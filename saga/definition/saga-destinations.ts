/** External connections of definitions, independent of the kinds of their steps. */
import type { Channel } from '../../binder/channel/channel.ts'
import { wrongKind } from '../../core/option-checks.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import { notAwaited } from '../../core/unawaited-callbacks.ts'
import type { DirectTarget } from '../direct/target.ts'
import { listOf } from '../machine/step-shape-lookup.ts'
import type { SagaKey, SagaSignals } from '../store/store-types.ts'
import type { MissingSaga, SignalSource } from './kinds/kind.ts'
import { kindOf } from './kinds/kind.ts'
import type { Saga, StepDefinition } from './saga-definition-types.ts'

/** Returns the command channel of a step's participant; `undefined` without one. */
export function destinationOf(step: StepDefinition): Channel | undefined {
  return kindOf(step).tiesOf(step).to
}

/** Returns the command channel of a step whose commands are messages. */
function messageDestination(step: StepDefinition): Channel | undefined {
  const { to, at } = kindOf(step).tiesOf(step)
  return at === undefined ? to : undefined
}

/** Returns the channels of the commands of these sagas, each once. */
export function commandChannels(sagas: readonly Saga[]): readonly Channel[] {
  const channels = sagas.flatMap(({ steps, branches = {} }) =>
    [...steps, ...Object.values(branches)].flatMap((step) => messageDestination(step) ?? []),
  )
  return [...new Map(channels.map((channel) => [channel.name, channel])).values()]
}

/** Returns the participants that the coordinator's process calls itself, each once. */
export function directTargets(sagas: readonly Saga[]): readonly DirectTarget[] {
  const targets = sagas.flatMap(({ steps, branches = {} }) =>
    [...steps, ...Object.values(branches)].flatMap((step) => kindOf(step).tiesOf(step).at ?? []),
  )
  return [...new Set(targets)]
}

/** Returns these definitions and, below them, those of their steps. */
export function withSubSagas(sagas: readonly Saga[]): readonly Saga[] {
  const all = new Set<Saga>()
  const add = (saga: Saga | undefined): void => {
    if (saga === undefined || all.has(saga)) return
    all.add(saga)
    for (const step of saga.steps) add(kindOf(step).tiesOf(step).saga)
  }
  for (const saga of sagas) add(saga)
  return [...all]
}

/** Returns the schema of a step's result from outside; `undefined`: any. */
export function resultSchema(saga: Saga, name: string): StandardSchemaV1 | undefined {
  const step = saga.steps.find((candidate) => candidate.name === name)
  return step && kindOf(step).tiesOf(step).result
}

/** True when the step waits for `coordinator.signal`. */
export function takesSignal(saga: Saga, name: string): boolean {
  const step = saga.steps.find((candidate) => candidate.name === name)
  return step?.awaits === 'signal' && kindOf(step).tiesOf(step).from === undefined
}

/** Returns the steps that wait for signals. */
export function signalsOf(saga: Saga): SagaSignals {
  const steps = saga.steps.filter(({ awaits }) => awaits === 'signal')
  return Object.fromEntries(steps.map((step) => [step.name, kindOf(step).tiesOf(step).from?.channel.name ?? null]))
}

/** A step that waits for messages. */
export interface MessageStep {
  readonly step: string
  readonly from: SignalSource
}

export function messageSteps(saga: Saga): readonly MessageStep[] {
  return saga.steps.flatMap((step) => {
    const { from } = kindOf(step).tiesOf(step)
    return from === undefined ? [] : [{ step: step.name, from }]
  })
}

/** A step that a message belongs to. */
export interface CorrelatedStep {
  readonly step: string
  readonly id: string
  readonly missing: MissingSaga
}

/** The recipients of a message, as far as the steps can determine them. */
export interface Correlation {
  readonly found: readonly CorrelatedStep[]
  /** Exceptions of other steps' `correlate`, including an error for each that returned no id. */
  readonly thrown: readonly unknown[]
}

/** Determines the steps and sagas that a message belongs to. Several versions of a saga are asked once. */
export function correlated(steps: readonly MessageStep[], channel: string, payload: unknown): Correlation {
  const found = new Map<string, CorrelatedStep>()
  const thrown: unknown[] = []
  for (const { step, from } of steps.filter((each) => each.from.channel.name === channel)) {
    try {
      const id = notAwaited(from.correlate(payload))
      if (id === undefined) continue
      if (typeof id !== 'string')
        throw wrongKind(`correlate of "${step}"`, id, 'the id of a saga, or undefined for none')
      found.set(`${step}/${id}`, { step, id, missing: from.missing })
    } catch (error) {
      thrown.push(error)
    }
  }
  return { found: [...found.values()], thrown }
}

/**
 * Returns the saga that this one would be a step of, judging by its id alone; `undefined` if the id does not belong to a step of
 * these sagas. Ids that are too long to contain the step's name are not recognised.
 */
export function parentById({ name, id }: SagaKey, sagas: readonly Saga[]): string | undefined {
  const parent = sagas.find((saga) => {
    const steps = saga.steps.filter((step) => kindOf(step).tiesOf(step).saga?.name === name)
    return id.startsWith(`${saga.name}/`) && steps.some((step) => stepNameOf(id) === step.name)
  })
  return parent?.name
}

/** Returns the step name in a derived id, without the item of a list and the number of a later run. */
function stepNameOf(id: string): string {
  return listOf(id.slice(id.lastIndexOf('/') + 1).replace(/#\d+$/, ''))
}
