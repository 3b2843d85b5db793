/**
 * Saga definitions: frozen data that can be imported and tested without a database. Each call of the builder returns a new,
 * complete definition, so there is no `build()`.
 *
 * The rules for steps are defined here and checked twice: by the types, and at construction (a `TypeError` with the path and the
 * remedy), because the order of the steps decides which of them can be undone.
 */

import type { StandardSchemaV1 } from '../../core/schema.ts'
import { type Around, blockMethods, placed, type Site } from './blocks.ts'
import type { SagaBuilder } from './builder.ts'
import { checkSagaName, checkStep, requireVersion } from './definition-rules.ts'
import { graphHash } from './graph-hash.ts'
import { KIND_OF_METHOD } from './kinds/methods.ts'
import type { Saga, StepDefinition } from './saga-definition-types.ts'
import type { SagaOptions } from './step-options.ts'

/**
 * Begins a definition. Add steps with `.step` and `.command`.
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

function builder(
  name: string,
  options: SagaOptions<StandardSchemaV1>,
  steps: readonly StepDefinition[],
  around: Around = { conditions: [] },
): object {
  const path = `defineSaga("${name}")`
  const site: Site = { path, steps, around, make: (more, inside) => builder(name, options, more, inside) }
  const add = (step: StepDefinition): object => {
    checkStep(path, steps, step)
    return builder(name, options, [...steps, placed(site, step)], around)
  }
  return Object.freeze({
    name,
    version: options.version,
    input: options.input,
    deadlineMs: options.deadlineMs,
    upcast: options.upcast as Saga['upcast'],
    steps: Object.freeze(steps),
    graphHash: graphHash(name, options.version, steps),
    ...stepMethods(
      path,
      steps.some((step) => step.pivot),
      add,
    ),
    ...blockMethods(site),
  })
}

/** Adds a builder method for each kind of step. */
function stepMethods(path: string, pivoted: boolean, add: (step: StepDefinition) => object): object {
  const methods = Object.entries(KIND_OF_METHOD).map(([name, kind]) => {
    const method = `${path}.${name}`
    return [name, (step: string, options: object) => add(kind.resolve({ method, name: step, pivoted }, options))]
  })
  return Object.fromEntries(methods)
}
