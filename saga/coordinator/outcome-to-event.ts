/** Converts outcomes of calls, replies and signals to events of the machine. */

import { copyData } from '../../core/copy-data.ts'
import { isOf } from '../../core/define-error-class.ts'
import { isRetryable, said, toError } from '../../core/errors.ts'
import { SchemaError, type StandardSchemaV1, validate } from '../../core/schema.ts'
import { fieldOf } from '../../core/thrown-values.ts'
import { isClosed, writeFault } from '../../core/write-fault.ts'
import { instanceDefinition } from '../definition/definition-with-added-steps.ts'
import { resultsByName } from '../definition/results-by-name.ts'
import type { Saga } from '../definition/saga-definition-types.ts'
import { resultSchema } from '../definition/saga-destinations.ts'
import { SagaError } from '../errors.ts'
import { stored } from '../json.ts'
import type { SagaEvent } from '../machine/event.ts'
import { OPERATIONS, type Operation, operationIn } from '../machine/operation.ts'
import { actedOn, type SagaState, type StepFailure, type StepState, type StepStatus } from '../machine/state.ts'
import type { SagaMail, SagaOperatorMail, SagaRow, SagaSignal } from '../store/store-types.ts'
import type { SagaReply } from '../wire/reply.ts'

const MAX_MESSAGE = 500

/** Describes an error for the timeline and `failure`: a stable code and a message of limited length. */
export function describeError(error: unknown): StepFailure {
  const cause = toError(error)
  const code = fieldOf(cause, 'code')
  return {
    code: clean(typeof code === 'string' && code !== '' ? code : classOf(cause), 100),
    message: clean(said(cause, 'message'), MAX_MESSAGE),
  }
}

/** Returns the name of the class, for classes that do not set `name`. */
function classOf(error: Error): string {
  const name = said(error, 'name')
  const made = name === 'Error' ? fieldOf(fieldOf(error, 'constructor'), 'name') : name
  return typeof made === 'string' && made !== '' ? made : 'Error'
}

/** Tells whether an error is a `Refusal`, also of another copy of this package. */
export function isRefusal(error: unknown): boolean {
  return fieldOf(error, 'refusal') === true
}

/** True when this release cannot read the saga's input or an earlier result, which is no outcome of the step that needs it. */
export function isUnreadable(error: unknown): boolean {
  return isOf(error, SagaError, 'saga.input_unreadable', 'saga.result_unreadable')
}

/** True when the same call fails in any process: the error says so, or the database never accepts its data. */
export function isPermanent(error: unknown): boolean {
  if (isClosed(error)) return false
  const fault = writeFault(error)
  return fault === 'permanent' || (fault !== 'operator' && !isRetryable(error))
}

/** Reduces a failure to text that every database can store: an encoding may lack non-ASCII characters. */
export function storable({ code, message }: StepFailure): StepFailure {
  return { code: toAscii(code), message: toAscii(message) }
}

function toAscii(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/gu, '?')
}

/** Event for a local call that rejected. */
export function failedEvent(
  step: string,
  operation: Operation,
  attempt: number,
  cause: unknown,
): Extract<SagaEvent, { type: 'refused' | 'failed' }> {
  const error = describeError(cause)
  if (isRefusal(cause)) return { type: 'refused', step, operation, error }
  return { type: 'failed', step, operation, error, terminal: !isRetryable(cause) && !isClosed(cause), attempt }
}

const WAITING: ReadonlySet<string> = new Set(['saga.xa_not_yet', 'saga.undo_not_yet'])

/** Tells whether a participant could not settle a step because another process, perhaps a frozen one, still works on it. */
export function isWaiting({ code }: StepFailure): boolean {
  return WAITING.has(code)
}

/**
 * Converts a participant's reply to an event. If the result does not fit the step's schema, the step fails permanently, because
 * the saga cannot use its effect. If the schema throws another error, for example because a service that it calls is unavailable,
 * one attempt fails, and the participant replies again.
 */
export async function replyEvent(saga: Saga, reply: SagaReply, maxBytes: number): Promise<SagaEvent> {
  const { step, operation } = reply
  const error: StepFailure = {
    code: clean(reply.code ?? 'saga.participant', 100),
    message: clean(reply.message ?? `the participant answered "${reply.status}"`, MAX_MESSAGE),
  }
  const { round = 'unknown' } = reply
  if (reply.status === 'refused') return { type: 'refused', step, operation, error, round }
  if (reply.status === 'failed') {
    const terminal = reply.final === true
    const waiting = !terminal && operation !== 'invoke' && isWaiting(error)
    return { type: 'failed', step, operation, error, terminal, waiting, attempt: reply.attempt, round }
  }
  if (!OPERATIONS[operation].hasResult) return { type: 'succeeded', step, operation }
  try {
    const result = stored(`reply of ${step}`, reply.result, maxBytes)
    const schema = resultSchema(saga, step)
    if (schema !== undefined) await validate(`reply of ${step}`, schema, result)
    return { type: 'succeeded', step, operation, result }
  } catch (cause) {
    return {
      type: 'failed',
      step,
      operation,
      error: describeError(cause),
      terminal: !isRetryable(cause),
      attempt: reply.attempt,
    }
  }
}

/** Event for a signal. @throws SchemaError when the payload does not fit its step */
export async function signalEvent(saga: Saga, { signal: step, payload }: SagaSignal): Promise<SagaEvent> {
  const schema = resultSchema(saga, step)
  if (schema !== undefined) await validate(`signal "${step}" of ${saga.name}`, schema, payload)
  return { type: 'signalled', step, payload }
}

/** Event for an operator's action in the row. */
export function operatorEvent({ operator, by, reason, request }: SagaOperatorMail): SagaEvent {
  return { type: 'operator', action: operator, by, reason, request }
}

/** Event for mail in the row. @throws as `signalEvent`, also for the result that an operator gave a step */
export async function mailEvent(saga: Saga, state: SagaState, mail: SagaMail, maxBytes: number): Promise<SagaEvent> {
  if ('undo' in mail) return { type: 'undo' }
  if ('operator' in mail) {
    const { operator } = mail
    const here = state.steps[actedOn(state.steps)]?.step
    // An action for another step is refused, whatever its result.
    const isHere = operator.do === 'skip' && (operator.step ?? here) === here
    if (!isHere) return operatorEvent(mail)
    const step = await requireStepResult(saga, state, operator.result)
    return operatorEvent({ ...mail, operator: { ...operator, step } })
  }
  return 'signal' in mail ? signalEvent(saga, mail) : replyEvent(saga, mail, maxBytes)
}

type Row = Pick<SagaRow, 'name' | 'id' | 'version'>

/**
 * Returns copies of the results of the steps before index `until`, with the types of their schemas; user code may modify them.
 * Returns none for a global transaction, whose branches need no other result.
 * @throws `saga.result_unreadable`: the saga is left to an instance that can read it
 */
export async function resultsOf(saga: Saga, row: Row, state: SagaState, until: number): Promise<object> {
  if (saga.branches !== undefined) return {}
  return readResults(saga, state, until, (step, cause) => {
    throw new SagaError('saga.result_unreadable', { saga: row.name, id: row.id, version: row.version, step }, cause)
  })
}

/** Returns copies of all results; a result that its schema refuses stays as stored. */
export function allResultsOf(saga: Saga, state: SagaState): Promise<object> {
  return readResults(saga, state, state.steps.length, (_, __, result) => result)
}

type Refused = (step: string, cause: SchemaError, result: unknown) => unknown

async function readResults(saga: Saga, state: SagaState, until: number, refused: Refused): Promise<object> {
  const all = instanceDefinition(saga, state)
  const read: Pick<StepState, 'step' | 'branch' | 'result'>[] = []
  for (const { step, branch, result: stands } of state.steps.slice(0, until)) {
    const result = copyData(stands)
    const schema = resultSchema(all, step)
    const known = schema === undefined || result === undefined
    read.push({ step, branch, result: known ? result : await readResult(step, schema, result, refused) })
  }
  return resultsByName(read)
}

async function readResult(step: string, schema: StandardSchemaV1, result: unknown, refused: Refused): Promise<unknown> {
  try {
    return await validate(`reply of ${step}`, schema, result)
  } catch (error) {
    if (error instanceof SchemaError) return refused(step, error, result)
    throw error
  }
}

/**
 * Checks that the step on which a saga is stuck could have this result. Without a result nothing is checked: later steps see
 * `undefined`.
 * @returns that step; @throws SchemaError
 */
export async function requireStepResult(saga: Saga, state: SagaState, result: unknown): Promise<string | undefined> {
  const step = state.steps[actedOn(state.steps)]
  const isGiven = result !== undefined && step !== undefined && bringsResult(step.status)
  const schema = isGiven ? resultSchema(saga, step.step) : undefined
  if (schema !== undefined) await validate(`result of ${step?.step}`, schema, result)
  return step?.step
}

function bringsResult(status: StepStatus): boolean {
  const operation = operationIn(status)
  return operation !== undefined && OPERATIONS[operation].hasResult
}

function clean(text: string, length: number): string {
  return text.replaceAll('\0', '').toWellFormed().slice(0, length).toWellFormed()
}
