/** Decides whether code joins the surrounding global transaction or has its own. */
import { invalidOption } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import type { GlobalTransactionDefinition } from '../global/definition.ts'
import { type GlobalTransaction, runningCode } from './global-transaction.ts'
import { checkOutcomeOptions, type OutcomeOptions } from './outcome-waiters.ts'
import type { StartOptions } from './starter.ts'

/**
 * Relation to the surrounding global transaction:
 * - `required`: joins it, or begins one if there is none;
 * - `requires-new`: always begins its own, which ends before the surrounding one continues;
 * - `mandatory`: joins it, and is refused if there is none;
 * - `never`: begins one, and is refused inside another.
 */
export type Propagation = 'required' | 'requires-new' | 'mandatory' | 'never'

/** Options of `globalTransaction`. */
export interface GlobalTransactionRunOptions<In> extends StartOptions<In>, OutcomeOptions {
  /** Relation to the surrounding global transaction. @default 'required' */
  readonly propagation?: Propagation | undefined
}

const OPTIONS = optionNames<GlobalTransactionRunOptions<unknown>>({
  id: true,
  input: true,
  signal: true,
  timeoutMs: true,
  propagation: true,
})
const PROPAGATIONS: readonly unknown[] = ['required', 'requires-new', 'mandatory', 'never'] satisfies Propagation[]

/**
 * @returns `join` when the code shall run in the surrounding transaction. @throws TypeError / RangeError naming the invalid
 * option
 */
export function resolvePropagation<In, Out, Result>(
  definition: GlobalTransactionDefinition<In, Out>,
  options: GlobalTransactionRunOptions<In>,
  code: (global: GlobalTransaction) => Result | Promise<Result>,
): StartOptions<unknown> & OutcomeOptions & { readonly join: (() => Promise<unknown>) | undefined } {
  if (definition?.branches === undefined) {
    throw invalidOption('globalTransaction', definition, 'a definition made by defineGlobalTransaction')
  }
  const path = `globalTransaction("${definition.name}")`
  refuseUnknown(path, options, OPTIONS)
  checkOutcomeOptions(path, options)
  const { propagation = 'required', ...start } = options
  if (!PROPAGATIONS.includes(propagation)) {
    throw invalidOption(`${path}.propagation`, propagation, PROPAGATIONS.join(', '))
  }
  if (typeof code !== 'function') throw invalidOption(`${path}.code`, code, 'a function: async (global) => ...')
  const around = runningCode()
  if (around === undefined && propagation === 'mandatory') {
    throw new TypeError(`${path}: propagation is mandatory, and there is no global transaction around it`)
  }
  if (around !== undefined && propagation === 'never') {
    throw new TypeError(`${path}: propagation is never, and ${around.name}/${around.id} is around it`)
  }
  if (around?.isWithin(definition.name, options.id) === true && propagation === 'requires-new') {
    throw new TypeError(`${path}: ${options.id} is around it and would wait for itself, give this one an id of its own`)
  }
  const joins = around !== undefined && propagation !== 'requires-new'
  return { ...start, join: joins ? () => around.join(code) : undefined }
}
