/**
 * Saga definitions: frozen data, importable and testable with no database. Each call of the builder gives a new, complete
 * definition, so there is no `build()`.
 *
 * What a step may say is fixed here and checked twice: by the types, and at construction (a `TypeError` that names the
 * path and the remedy), because the order of steps decides what can still be undone.
 */

import { invalidOption } from '../../core/errors.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SagaShape } from '../machine/state.ts'
import type { SagaBuilder } from './builder.ts'
import { type Condition, conditional, requireCondition } from './condition.ts'
import { checkSagaName, checkStep, graphHash, grouped, refuseInGroup, requireVersion, stepsOfBlock } from './graph.ts'
import { resolveSignal, resolveTimer, type SignalDefinition, type TimerDefinition } from './passive.ts'
import { type CommandDefinition, type LocalDefinition, resolveCommand, resolveLocal } from './resolve.ts'
import { resolveSubSaga, type SubSagaDefinition } from './sub-saga.ts'

/** A definition as the coordinator takes it. `Results` maps step names to what they returned. */
export interface Saga<In = unknown, Out = In, Results extends object = object> extends SagaShape {
  readonly name: string
  readonly version: number
  readonly input: StandardSchemaV1<In, Out>
  readonly steps: readonly StepDefinition[]
  readonly deadlineMs: number | undefined
  readonly upcast?: ((stored: unknown) => unknown) | undefined
  /** Hash of the steps: their order, names, kinds and destinations. Timeouts and retries may change freely. */
  readonly graphHash: string
  /** Type only. */
  readonly results?: Results
}

export type StepDefinition = (
  | LocalDefinition
  | CommandDefinition
  | TimerDefinition
  | SignalDefinition
  | SubSagaDefinition
) & {
  /** All must hold for the step to be made. */
  readonly conditions?: readonly Condition[] | undefined
}

export interface SagaOptions<S extends StandardSchemaV1> {
  /** Raise it whenever the steps change; instances finish on the version they began with. */
  readonly version: number
  /** Any Standard Schema. The input form is stored as JSON; steps get the output form. */
  readonly input: S
  /**
   * How long after its start a saga may still be on its way to the pivot: then it turns back, with `saga.deadline` as its
   * failure. A local call that runs at that moment is let finish first. Counted by the database; may change freely.
   * @default no deadline
   */
  readonly deadlineMs?: number | undefined
  /**
   * Makes an input that was stored before the schema wanted more fit it again: `(stored) => ({ currency: 'EUR', ...stored })`.
   * Called with the stored JSON, only where the schema refuses that. Pure. @default none
   */
  readonly upcast?: ((stored: never) => StandardSchemaV1.InferInput<S>) | undefined
}

/**
 * Begins a definition; add steps with `.step` and `.command`.
 * @param name 1 to 100 characters of `A-Z a-z 0-9 . _ -`
 * @throws TypeError / RangeError naming the option
 */
export function defineSaga<S extends StandardSchemaV1>(
  name: string,
  options: SagaOptions<S>,
): SagaBuilder<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>, object> {
  checkSagaName(name)
  requireVersion(name, options)
  return builder(name, options, []) as unknown as ReturnType<typeof defineSaga<S>>
}

/** What is around the steps that are added: conditions, and the group that they are begun with. */
interface Around {
  readonly conditions: readonly Condition[]
  readonly group?: number | undefined
}

function builder(
  name: string,
  options: SagaOptions<StandardSchemaV1>,
  steps: readonly StepDefinition[],
  around: Around = { conditions: [] },
): object {
  const path = `defineSaga("${name}")`
  const add = (step: StepDefinition): object => {
    checkStep(path, steps, step)
    const placed = grouped(path, conditional(path, step, around.conditions), around.group)
    return builder(name, options, [...steps, placed], around)
  }
  /** Adds what `more` adds to a builder with something else around it. */
  const block = (method: string, more: unknown, inside: Around): object => {
    if (typeof more !== 'function')
      throw invalidOption(`${path}.${method}`, more, 'a function: (saga) => saga.step(...)')
    return builder(
      name,
      options,
      stepsOfBlock(path, method, steps, more(builder(name, options, steps, inside))),
      around,
    )
  }
  const pivoted = steps.some((step) => step.pivot)
  return Object.freeze({
    name,
    version: options.version,
    input: options.input,
    deadlineMs: options.deadlineMs,
    upcast: options.upcast as Saga['upcast'],
    steps: Object.freeze(steps),
    graphHash: graphHash(name, options.version, steps),
    step: (step: string, stepOptions: never) => add(resolveLocal(`${path}.step`, step, stepOptions, pivoted)),
    command: (step: string, stepOptions: never) => add(resolveCommand(`${path}.command`, step, stepOptions, pivoted)),
    timer: (step: string, stepOptions: never) => add(resolveTimer(`${path}.timer`, step, stepOptions)),
    signal: (step: string, stepOptions: never) => add(resolveSignal(`${path}.signal`, step, stepOptions)),
    saga: (step: string, stepOptions: never) => add(resolveSubSaga(`${path}.saga`, step, stepOptions, pivoted)),
    when: (condition: unknown, more: unknown) => {
      refuseInGroup(path, 'when', around.group)
      const asked = requireCondition(path, condition)
      return block('when', more, { ...around, conditions: [...around.conditions, asked] })
    },
    parallel: (more: unknown) => {
      refuseInGroup(path, 'parallel', around.group)
      if (pivoted)
        throw new TypeError(`${path}.parallel: after the pivot steps are made one by one, add them with .step`)
      return block('parallel', more, { ...around, group: steps.length })
    },
  })
}
