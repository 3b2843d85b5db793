/**
 * `.tcc(...)`: a step that first reserves. `try` runs when the saga goes forward. Once the saga is decided (past its pivot, or,
 * without one, when all steps are done) `confirm` makes the reservation final; if the saga is undone `cancel` releases it.
 *
 * The participant is another service, or functions that the coordinator calls in transactions of its own database. The writes of
 * these functions commit with the saga's progress, so each is applied once without a further fence. Effects of `try` elsewhere
 * are uncertain after a failure, so `cancel` is called then, too.
 */
import { type Channel, defineChannel } from '../../../binder/channel/channel.ts'
import { invalidOption } from '../../../core/errors.ts'
import { optionNames } from '../../../core/option-checks.ts'
import { A_SCHEMA, type StandardSchemaV1 } from '../../../core/schema.ts'
import { callTimes, resolveDestination } from '../../direct/destination.ts'
import type { DirectTarget } from '../../direct/target.ts'
import type { Stored } from '../../json.ts'
import type { Operation } from '../../machine/operation.ts'
import type { RetryPolicy, StepState } from '../../machine/state.ts'
import { TCC as TCC_PARTICIPANT } from '../../wire/wire.ts'
import {
  CALL_OPTIONS,
  FORWARD_ATTEMPTS,
  patient,
  patientPolicy,
  resolveCall,
  resolveRetry,
  stepPath,
} from '../resolve-step-options.ts'
import type { StepDefinition } from '../saga-definition-types.ts'
import type { CompensationContext, RequestContext, StepContext, WithTransaction } from '../step-contexts.ts'
import type { CallOptions, RetryOptions } from '../step-options.ts'
import { askParticipant } from './ask-participant.ts'
import type { CommandRequest } from './command.ts'
import type { RunContext, StepKind, StepPlace } from './kind.ts'

/** Retries of confirmations. */
export interface ConfirmOptions {
  /**
   * Same as `retry`, for the confirmation; an unavailable participant is awaited without limit.
   * @default 10 attempts; 1 s, doubled, at most 10 s. After them the saga is `stuck`.
   */
  readonly confirmRetry?: RetryOptions | undefined
}

/** Options of `.tcc` whose participant is in another service: see `tccParticipant`. */
export interface TccCommandOptions<Input, Results extends object, ToIn, Reply extends StandardSchemaV1>
  extends CommandRequest<Input, Results, ToIn, Reply>,
    ConfirmOptions {}

/** Context of `confirm` of `.tcc`. */
export interface TccConfirmContext<Input = unknown, Results extends object = object, Result = unknown>
  extends StepContext<Input, Results>,
    WithTransaction {
  /** Result of `try`. */
  readonly result: Result
}

/** Context of `cancel` of `.tcc`. */
export interface TccCancelContext<Input = unknown, Results extends object = object, Result = unknown>
  extends CompensationContext<Input, Results, Result>,
    WithTransaction {
  /**
   * True: `try` was committed with its writes through `tx`. False: these writes do not exist, but `try` began, so its effects
   * elsewhere may have happened.
   */
  readonly tried: boolean
}

/** Options of `.tcc` in the coordinator's process: each function runs in a transaction that commits with the saga's progress. */
export interface TccStepOptions<Input, Results extends object, Result> extends CallOptions, ConfirmOptions {
  /** Reserves. Throw a `Refusal` to refuse, having done nothing. Pass `key` to any system that it calls outside of `tx`. */
  readonly try: (context: StepContext<Input, Results> & WithTransaction) => Result | Promise<Result>
  /** Makes the reservation final. Must not refuse. */
  readonly confirm: (context: TccConfirmContext<Input, Results, Stored<Result>>) => void | Promise<void>
  /** Releases the reservation. Also called when `try` failed or its outcome is unknown: see `tried`. Must not refuse. */
  readonly cancel: (context: TccCancelContext<Input, Results, Stored<Result>>) => void | Promise<void>
}

type Run = (context: RunContext) => unknown

interface TccDefinition extends StepDefinition {
  /** Destination of commands; `undefined`: the functions are called here. */
  readonly sent: Sent | undefined
  readonly runs: Readonly<Record<Operation, Run>> | undefined
}

interface Sent {
  readonly to: Channel
  /** Set when the participant is called directly. */
  readonly at: DirectTarget | undefined
  readonly request: (context: RequestContext) => unknown
  readonly reply: StandardSchemaV1 | undefined
}

/** Options as received: unchecked, possibly from plain JavaScript. */
interface Raw extends CallOptions, ConfirmOptions {
  readonly to?: unknown
  readonly request?: unknown
  readonly reply?: Partial<StandardSchemaV1> | undefined
  readonly try?: unknown
  readonly confirm?: unknown
  readonly cancel?: unknown
}

const { pivot: _, compensate: __, ...CALLS } = CALL_OPTIONS
const COMMAND_NAMES = optionNames<TccCommandOptions<unknown, object, unknown, StandardSchemaV1>>({
  ...CALLS,
  confirmRetry: true,
  to: true,
  request: true,
  reply: true,
})
const STEP_NAMES = optionNames<TccStepOptions<unknown, object, unknown>>({
  ...CALLS,
  confirmRetry: true,
  try: true,
  confirm: true,
  cancel: true,
})
const LOCAL_ATTEMPTS = 3
const COMMAND_ATTEMPTS = 5

export const TCC: StepKind<TccDefinition> = {
  name: 'tcc',
  spans: { outcome: 'reply' },
  resolve(place, options: Raw) {
    const isRemote = options?.to !== undefined
    const path = stepPath(place, options, isRemote ? COMMAND_NAMES : STEP_NAMES)
    if (place.pivoted) {
      throw new TypeError(
        `${path}: after the pivot nothing is cancelled any more, so there is nothing to try. Move it before the pivot, or use .step or .command.`,
      )
    }
    const sent = isRemote ? resolveSent(path, options) : undefined
    const runs = isRemote ? undefined : resolveRuns(path, options)
    const { timeoutMs, ...times } = callTimes(sent?.at, options.timeoutMs)
    const calls = resolveCalls(path, place, { ...options, timeoutMs }, isRemote)
    return Object.freeze({ ...calls, ...times, kind: TCC, sent, runs })
  },
  graphOf: ({ sent }) => ({ to: sent === undefined ? null : sent.to.name }),
  tiesOf: ({ sent }) => ({ to: sent?.to, at: sent?.at, result: sent?.reply }),
  async prepare(step, prepared) {
    if (step.sent === undefined) return prepared.mayRun() ? undefined : { type: 'yielded', step: step.name }
    return askParticipant({ name: step.name, ...step.sent }, prepared, TCC_PARTICIPANT)
  },
  withItem: ({ sent, runs, ...step }, item) => ({
    ...step,
    sent: sent && { ...sent, request: (context) => sent.request({ ...context, ...item }) },
    runs: runs && {
      invoke: (context) => runs.invoke({ ...context, ...item }),
      confirm: (context) => runs.confirm({ ...context, ...item }),
      compensate: (context) => runs.compensate({ ...context, ...item }),
    },
  }),
  run: (step, operation, context) => step.runs?.[operation](context),
}

/** Defines a branch that code can call: a step without a payload. @throws the errors of `resolve` */
export function resolveBranch(method: string, name: string, options: object): StepDefinition {
  return TCC.resolve({ method, name, pivoted: false }, { ...options, request: () => undefined })
}

/**
 * Returns the step of a called branch. If this release lacks the branch, or sends it to another channel where the step is
 * unknown, each call fails, which operators see.
 */
export function asBranch(definition: StepDefinition | undefined, state: StepState): StepDefinition {
  const { step: name, branch = '', payload, to } = state
  const sent = (definition as TccDefinition | undefined)?.sent
  if (sent !== undefined && (to === undefined || to === sent.to.name))
    return Object.freeze({ ...(definition as TccDefinition), name, sent: { ...sent, request: () => payload } })
  const problem =
    sent === undefined
      ? `this release has no branch "${branch}", bring it back`
      : `this release sends branch "${branch}" to "${sent.to.name}", and it was sent to "${to}": bring that channel back`
  const request = (): never => {
    throw new TypeError(`step "${name}": ${problem} until it is settled`)
  }
  const nowhere = defineChannel('unknown-branch', { payload: ANYTHING })
  return TCC.resolve({ method: 'defineBranch', name, pivoted: false }, { to: nowhere, request })
}

const ANYTHING: StandardSchemaV1 = {
  '~standard': { version: 1, vendor: 'concordat', validate: (value) => ({ value }) },
}

function resolveCalls(
  path: string,
  place: StepPlace,
  options: Raw,
  isRemote: boolean,
): Omit<StepDefinition, 'kind'> & { readonly confirm: RetryPolicy } {
  const { timeoutMs, retry, compensationRetry, confirmRetry } = options
  const given = { timeoutMs, retry, compensationRetry, compensate: true }
  const attempts = isRemote ? COMMAND_ATTEMPTS : LOCAL_ATTEMPTS
  const calls = { ...resolveCall(path, place, given, attempts), remote: isRemote, transactional: false }
  const confirm = resolveRetry(`${path}.confirmRetry`, confirmRetry, FORWARD_ATTEMPTS)
  if (!isRemote) return { ...calls, confirm, inTransaction: true }
  return { ...patient(calls, given), confirm: patientPolicy(confirm, confirmRetry) }
}

function resolveSent(path: string, { to, request, reply }: Raw): Sent {
  const destination = resolveDestination(`${path}.to`, to)
  if (typeof request !== 'function') throw invalidOption(`${path}.request`, request, 'a function')
  if (reply !== undefined && typeof reply['~standard']?.validate !== 'function') {
    throw invalidOption(`${path}.reply`, reply, A_SCHEMA)
  }
  return Object.freeze({
    ...destination,
    request: request as Sent['request'],
    reply: reply as StandardSchemaV1 | undefined,
  })
}

function resolveRuns(path: string, options: Raw): Readonly<Record<Operation, Run>> {
  for (const name of ['try', 'confirm', 'cancel'] as const) {
    if (typeof options[name] === 'function') continue
    throw invalidOption(`${path}.${name}`, options[name], 'a function; or say `to` and `request` for a tccParticipant')
  }
  const { try: reserve, confirm, cancel } = options as Record<'try' | 'confirm' | 'cancel', Run>
  return Object.freeze({ invoke: reserve, confirm, compensate: cancel })
}
