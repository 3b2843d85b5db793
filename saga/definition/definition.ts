/**
 * Saga definitions: frozen data, importable and testable with no database. Each call of the builder gives a new, complete
 * definition, so there is no `build()`.
 *
 * What a step may say is fixed here and checked twice: by the types, and at construction (a `TypeError` that names the
 * path and the remedy), because the order of steps decides what can still be undone.
 */

import { invalidOption } from '../../core/errors.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import type { SagaBuilder } from './builder.ts'
import { conditional, requireCondition } from './condition.ts'
import { checkSagaName, checkStep, graphHash, grouped, refuseInGroup, requireVersion, stepsOfBlock } from './graph.ts'
import { resolveSignal, resolveTimer } from './passive.ts'
import { resolveCommand, resolveLocal } from './resolve.ts'
import type { Condition, Saga, StepDefinition } from './saga.ts'
import type { SagaOptions } from './step-options.ts'
import { resolveSubSaga } from './sub-saga.ts'

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
