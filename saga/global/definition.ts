/**
 * Definitions of transactions that are plain code. The calls of the code are not known beforehand, but the branches that it may
 * call are, so any instance can confirm or cancel them, also after the process that ran the code has died.
 */
import type { Channel } from '../../binder/channel/channel.ts'
import { SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown } from '../../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../../core/schema.ts'
import { checkSagaName } from '../definition/definition-rules.ts'
import { graphHash } from '../definition/graph-hash.ts'
import { codeStep } from '../definition/kinds/global-transaction-code.ts'
import { resolveBranch } from '../definition/kinds/tcc.ts'
import { MAX_TIMEOUT_MS } from '../definition/resolve-step-options.ts'
import type { Saga, StepDefinition } from '../definition/saga-definition-types.ts'
import type { CallOptions, RetryOptions } from '../definition/step-options.ts'
import type { DirectTarget } from '../direct/target.ts'

/** Options of `defineBranch`. */
export interface BranchOptions<ToIn, Reply extends StandardSchemaV1>
  extends Pick<CallOptions, 'timeoutMs' | 'retry' | 'compensationRetry'> {
  /**
   * The command channel of a `tccParticipant`; or `httpTarget(channel, { url })`, `localTarget(channel, participant, { sql })`.
   */
  readonly to: Channel<ToIn, unknown> | DirectTarget<ToIn>
  /** Schema of the result of `try`. @default any JSON, typed `unknown` */
  readonly reply?: Reply | undefined
  /** Retries of the confirmation. @default 10 attempts; an unavailable participant is awaited without end */
  readonly confirmRetry?: RetryOptions | undefined
}

/** A branch that a global transaction can call: `defineBranch`. */
export interface Branch<In = unknown, Result = unknown> {
  readonly name: string
  readonly step: StepDefinition
  /** Types only. */
  readonly types?: { readonly input: In; readonly result: Result } | undefined
}

/** Options of `defineGlobalTransaction`. */
export interface GlobalTransactionOptions<S extends StandardSchemaV1> {
  /** Stored as JSON with the transaction. */
  readonly input: S
  /**
   * All branches that the code can call. Add a branch one release before the code that calls it: an instance without the branch
   * cannot confirm or cancel it (`stuck`). Keep the branch and its channel until no open transaction has called it.
   */
  readonly branches: readonly Branch[]
  /**
   * Time limit from the start until the code has returned, including time spent waiting for replies. After it all branches are
   * cancelled.
   * @default 30 seconds
   */
  readonly timeoutMs?: number | undefined
}

/** A transaction that is plain code, for `coordinator.globalTransaction`. List it in `sagas`, like a saga. */
export interface GlobalTransactionDefinition<In = unknown, Out = In> extends Saga<In, Out, { readonly code: unknown }> {
  readonly branches: Readonly<Record<string, StepDefinition>>
}

type Raw = Pick<BranchOptions<unknown, StandardSchemaV1>, 'to'>

const OPTIONS = optionNames<GlobalTransactionOptions<StandardSchemaV1>>({
  input: true,
  branches: true,
  timeoutMs: true,
})
const TIMEOUT_MS = 30 * SECOND

/**
 * Defines a branch that the code of a global transaction can call: the `try` of a `tccParticipant` in another service. It is
 * confirmed after the code has returned, and cancelled if the code fails.
 * @param name 1 to 80 characters of `A-Z a-z 0-9 . _ -`
 * @throws TypeError / RangeError naming the option
 */
export function defineBranch<ToIn, Reply extends StandardSchemaV1 = StandardSchemaV1<unknown>>(
  name: string,
  options: BranchOptions<ToIn, Reply>,
): Branch<ToIn, StandardSchemaV1.InferOutput<Reply>> {
  const path = 'defineBranch'
  if (typeof name === 'string' && name.length > 80) throw invalidOption(`${path}.name`, name, 'at most 80 characters')
  if ((options as Raw | undefined)?.to === undefined) {
    throw invalidOption(
      `${path}("${name}").to`,
      undefined,
      'the command channel of a tccParticipant, or what httpTarget or localTarget returned',
    )
  }
  return Object.freeze({ name, step: resolveBranch(path, name, options) })
}

/**
 * Defines a transaction that is plain code. Pass it with the code to `coordinator.globalTransaction` (or that of a service), and
 * list it in `sagas`.
 * @param name same rules as for a saga; sagas and transactions share one set of names
 * @throws TypeError / RangeError naming the option
 */
export function defineGlobalTransaction<S extends StandardSchemaV1>(
  name: string,
  options: GlobalTransactionOptions<S>,
): GlobalTransactionDefinition<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>> {
  checkSagaName(name)
  const path = `defineGlobalTransaction("${name}")`
  refuseUnknown(path, options, OPTIONS)
  const { input, timeoutMs = TIMEOUT_MS } = options
  if (typeof input?.['~standard']?.validate !== 'function') {
    throw invalidOption(`${path}.input`, input, A_SCHEMA)
  }
  const steps = Object.freeze([codeStep(requireInteger(`${path}.timeoutMs`, timeoutMs, 1, MAX_TIMEOUT_MS))])
  const definition: GlobalTransactionDefinition = {
    name,
    version: 1,
    input,
    deadlineMs: undefined,
    upcast: undefined,
    steps,
    branches: branchesOf(path, options.branches),
    graphHash: graphHash(name, 1, steps),
  }
  return Object.freeze(definition) as ReturnType<typeof defineGlobalTransaction<S>>
}

function branchesOf(path: string, branches: readonly Branch[]): Record<string, StepDefinition> {
  if (!Array.isArray(branches) || branches.length === 0) {
    throw invalidOption(`${path}.branches`, branches, 'a list of what defineBranch returned')
  }
  const byName = new Map<string, StepDefinition>()
  for (const [n, branch] of (branches as readonly Partial<Branch>[]).entries()) {
    const { name, step } = branch ?? {}
    if (name === undefined || step?.confirm === undefined) {
      throw invalidOption(`${path}.branches[${n}]`, branch, 'what defineBranch returned')
    }
    if (byName.has(name)) {
      throw new TypeError(`${path}.branches: two branches are called "${name}", rename one of them`)
    }
    byName.set(name, step)
  }
  return Object.freeze(Object.fromEntries(byName))
}
