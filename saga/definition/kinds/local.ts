/** `.step(...)`: functions that the coordinator calls in its own process. */
import { invalidOption } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import type { Stored } from '../../json.ts'
import type { Operation } from '../../machine/operation.ts'
import { CALL_OPTIONS, type RawCallOptions, requireFlag, resolveCall, stepPath } from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { CompensationContext, StepContext, WithTransaction } from '../step-contexts.ts'
import type { CallOptions, Forward } from '../step-options.ts'
import type { RunContext, StepKind } from './kind.ts'

type Tx<T> = T extends true ? WithTransaction : unknown

interface Invoke<Input, Results extends object, Result, T> extends CallOptions {
  /**
   * True: `invoke` and `compensate` receive `tx`, and their writes through it commit together with the saga's progress: exactly
   * once. They must have no other effects. False: called at least once; deduplicate by `key`. @default false
   */
  readonly transactional?: T
  /** Runs in the coordinator's process. Throw a `Refusal` to refuse; an error with `retryable: false` to fail without retries. */
  readonly invoke: (context: StepContext<Input, Results> & Tx<T>) => Result | Promise<Result>
}

/** Options of `.step` before the pivot, where it can be undone. */
export interface StepOptions<Input, Results extends object, Result, T> extends Invoke<Input, Results, Result, T> {
  /**
   * Undoes `invoke`; `'none'`: there is nothing to undo. Also called when the outcome of `invoke` is unknown, so it must succeed
   * if `invoke` had no effect, and be repeatable.
   */
  readonly compensate:
    | ((context: CompensationContext<Input, Results, Stored<Result>> & Tx<T>) => void | Promise<void>)
    | 'none'
  /** Absent or false here: `true` makes it the pivot, which takes `ForwardStepOptions`. */
  readonly pivot?: false | undefined
}

/** Options of `.step` as the pivot or after it, where nothing is undone. */
export interface ForwardStepOptions<Input, Results extends object, Result, T>
  extends Invoke<Input, Results, Result, T>,
    Forward {}

interface LocalDefinition extends StepDefinition {
  readonly run: (context: RunContext) => unknown
  readonly undo: ((context: RunContext) => unknown) | undefined
}

/** Options as received: unchecked, possibly from plain JavaScript. */
interface Raw extends RawCallOptions {
  readonly transactional?: unknown
  readonly invoke?: unknown
}

const NAMES = optionNames<StepOptions<unknown, object, unknown, boolean>>({
  ...CALL_OPTIONS,
  transactional: true,
  invoke: true,
})
const ATTEMPTS = 3
const NO_TIES = Object.freeze({})
const NO_FACTS = Object.freeze({})

export const LOCAL: StepKind<LocalDefinition> = {
  name: 'local',
  spans: { outcome: undefined },
  resolve(place, options: Raw) {
    const path = stepPath(place, options, NAMES)
    const { invoke, compensate } = options
    if (typeof invoke !== 'function') throw invalidOption(`${path}.invoke`, invoke, 'a function')
    if (compensate !== undefined && compensate !== 'none' && typeof compensate !== 'function') {
      throw invalidOption(`${path}.compensate`, compensate, "a function, or 'none'")
    }
    const transactional = requireFlag(`${path}.transactional`, options.transactional)
    return Object.freeze({
      ...resolveCall(path, place, options, ATTEMPTS),
      kind: LOCAL,
      remote: false,
      transactional,
      run: invoke as LocalDefinition['run'],
      undo: typeof compensate === 'function' ? (compensate as LocalDefinition['undo']) : undefined,
    })
  },
  graphOf: () => NO_FACTS,
  tiesOf: () => NO_TIES,
  prepare: (_, prepared) => (prepared.mayRun() ? undefined : { type: 'yielded', step: prepared.call.step }),
  withItem: (step, item) => ({
    ...step,
    run: (context) => step.run({ ...context, ...item }),
    undo: step.undo && ((context) => step.undo?.({ ...context, ...item })),
  }),
  run: (step, operation, context) => RUNS[operation]?.(step, context),
}

/** Functions by operation. There is no `confirm`, because the shape has none. */
const RUNS: Readonly<Partial<Record<Operation, (step: LocalDefinition, context: RunContext) => unknown>>> = {
  invoke: (step, context) => step.run(context),
  compensate: (step, context) => step.undo?.(context),
}
