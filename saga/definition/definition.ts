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
import { checkSagaName, checkStep, grouped, refuseInGroup, requireVersion, stepsOfBlock } from './graph.ts'
import { graphHash } from './graph-hash.ts'
import { STEP_KINDS } from './kinds/table.ts'
import type { Condition, Saga, StepDefinition } from './saga.ts'
import type { SagaOptions } from './step-options.ts'

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
    ...stepMethods(path, pivoted, add),
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

/** A method for each kind of step. */
function stepMethods(path: string, pivoted: boolean, add: (step: StepDefinition) => object): object {
  const methods = STEP_KINDS.flatMap((kind) => {
    if (kind.method === undefined) return []
    const method = `${path}.${kind.method}`
    return [[kind.method, (name: string, options: object) => add(kind.resolve({ method, name, pivoted }, options))]]
  })
  return Object.fromEntries(methods)
}
