/** Rules for a whole definition: names, and the order of steps. */
import { checkName } from '../../binder/channel/channel.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../../core/schema.ts'
import type { Choice } from '../machine/state.ts'
import type { Saga, StepDefinition } from './saga-definition-types.ts'
import type { SagaOptions } from './step-options.ts'

export function checkSagaName(name: unknown): void {
  checkName('defineSaga', name, 100)
}

const NAMES = optionNames<SagaOptions<StandardSchemaV1>>({ version: true, input: true, deadlineMs: true, upcast: true })

export function requireVersion(name: string, options: SagaOptions<StandardSchemaV1>): void {
  const path = `defineSaga("${name}")`
  refuseUnknown(path, options, NAMES)
  requireInteger(`${path}.version`, options.version, 1, 1_000_000)
  if (typeof options.input?.['~standard']?.validate !== 'function') {
    throw invalidOption(`${path}.input`, options.input, A_SCHEMA)
  }
  if (options.upcast !== undefined && typeof options.upcast !== 'function') {
    throw invalidOption(`${path}.upcast`, options.upcast, 'a function')
  }
  if (options.deadlineMs !== undefined) requireInteger(`${path}.deadlineMs`, options.deadlineMs, 1)
}

/** @throws TypeError when the saga already has a step of this name */
export function checkStep(path: string, before: readonly StepDefinition[], step: StepDefinition): void {
  if (before.some(({ name }) => name === step.name)) {
    throw new TypeError(`${path}: two steps are called "${step.name}", rename one of them`)
  }
}

/** Returns the steps that a block added to `before`. @throws TypeError when it did not return the saga with more steps */
export function stepsOfBlock(
  path: string,
  method: string,
  before: readonly StepDefinition[],
  block: unknown,
): readonly StepDefinition[] {
  const steps = typeof block === 'object' && block !== null && 'steps' in block ? block.steps : undefined
  const added = Array.isArray(steps) && steps.length > before.length && before.every((step, n) => step === steps[n])
  if (added) return steps as readonly StepDefinition[]
  throw new TypeError(
    `${path}.${method}: the function must return what it was given with steps added: (saga) => saga.step(...)`,
  )
}

/** Context of a step: conditions, branch and group. */
interface StepSurroundings {
  readonly group?: number | undefined
  readonly choices?: readonly Choice[] | undefined
  readonly forward?: true | undefined
}

/** @throws TypeError for a pivot in a group, branch or condition: it must be alone */
export function placedIn(
  path: string,
  step: StepDefinition,
  { group, choices, forward }: StepSurroundings,
): StepDefinition {
  if (group === undefined && choices === undefined && forward === undefined) return step
  if (step.pivot && group !== undefined) {
    throw new TypeError(`${path}.parallel: the pivot "${step.name}" must stand alone. Put it after the group.`)
  }
  if (step.pivot) {
    const method = choices === undefined ? 'forward' : 'choose'
    throw new TypeError(`${path}.${method}: the pivot "${step.name}" cannot be within it. Put it before or after.`)
  }
  return Object.freeze({
    ...step,
    ...(group !== undefined && { group }),
    ...(choices !== undefined && { choices }),
    ...(forward !== undefined && { forward }),
  })
}

type Block = (saga: object) => unknown

/**
 * Returns the branches of a choice by name. @throws TypeError for fewer than two, a bad name, or a value that is not a function
 */
export function branchesOf(path: string, branches: unknown): ReadonlyMap<string, Block> {
  const entries = typeof branches === 'object' && branches !== null ? Object.entries(branches) : []
  if (entries.length < 2) {
    throw invalidOption(
      `${path}.branches`,
      branches,
      'an object of at least two branches: { air: (saga) => saga.step(...) }',
    )
  }
  return new Map(
    entries.map(([name, block]) => {
      checkName(`${path}.branches`, name, 100)
      if (typeof block === 'function') return [name, block as Block]
      throw invalidOption(`${path}.${name}`, block, 'a function: (saga) => saga.step(...)')
    }),
  )
}

/** Same as `stepsOfBlock`; a branch may have no steps. */
export function stepsOfBranch(
  path: string,
  method: string,
  before: readonly StepDefinition[],
  block: unknown,
): readonly StepDefinition[] {
  const steps = typeof block === 'object' && block !== null && 'steps' in block ? block.steps : undefined
  const isSame = Array.isArray(steps) && steps.length === before.length && before.every((step, n) => step === steps[n])
  return isSame ? before : stepsOfBlock(path, method, before, block)
}

export function refuseInGroup(path: string, method: string, group: number | undefined): void {
  if (group === undefined) return
  throw new TypeError(`${path}.parallel: no .${method} within a group, put the group into it`)
}

/** @throws TypeError for a saga without steps, or a value that is not a saga */
export function checkSaga(path: string, saga: Saga): void {
  if (!Array.isArray(saga?.steps)) throw invalidOption(path, saga, 'a saga made by defineSaga')
  if (saga.steps.length > 0) return
  throw new TypeError(`${path}: saga "${saga.name}" has no steps. Builders are immutable: pass what .step() returned.`)
}
