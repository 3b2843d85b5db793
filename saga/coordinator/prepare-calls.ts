/**
 * Prepares the calls of a transition before its commit: decides whether the step is needed, and collects the messages to commit.
 * Calls nothing.
 */

import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { Clock } from '../../core/clock.ts'
import type { TelemetrySpan } from '../../core/telemetry-interface.ts'
import { readable } from '../../core/thrown-values.ts'
import { isNeeded } from '../definition/condition.ts'
import { seenUntil } from '../definition/definition-with-added-steps.ts'
import type { ChildStart, PreparedCall, TransactionBody } from '../definition/kinds/kind.ts'
import { kindOf } from '../definition/kinds/kind.ts'
import type { Saga, StepDefinition } from '../definition/saga-definition-types.ts'
import { stepKey } from '../definition/saga-id.ts'
import type { RequestContext } from '../definition/step-contexts.ts'
import type { DirectTarget } from '../direct/target.ts'
import { stored } from '../json.ts'
import type { SagaEvent, TimelineEntry } from '../machine/event.ts'
import { operationIn } from '../machine/operation.ts'
import type { Call, SagaParent, SagaState, StepFailure, StepState } from '../machine/state.ts'
import type { SagaPost, SagaRow, SagaWrite } from '../store/store-types.ts'
import { type CommandHeaders, readCommandHeaders, type Sender } from '../wire/wire.ts'
import type { CapacityReservation } from './capacity-reservation.ts'
import type { LoadedSaga } from './loaded-saga.ts'
import { dueAtOnce, newSagaSnapshot } from './new-saga.ts'
import { describeError, isUnreadable, resultsOf } from './outcome-to-event.ts'
import { readInput } from './read-stored-input.ts'
import type { CoordinatorRuntime } from './runtime.ts'
import { callKey, type DirectCommand } from './write-plan.ts'

/** Input and result of preparing a plan's calls. */
export interface PlanDraft {
  readonly runtime: CoordinatorRuntime
  /** State that grows with the plan. */
  before: LoadedSaga
  readonly messages: EncodedMessage[]
  readonly requests: DirectCommand[]
  /** Spans to end when the plan is durable. */
  readonly spans: TelemetrySpan[]
  readonly starts: SagaWrite[]
  readonly posts: SagaPost[]
  /** Calls that cannot be written, by `callKey`, with the reason. */
  readonly refusals: ReadonlyMap<string, StepFailure>
  /** Calls that send or plan something, by `callKey`. */
  readonly callKeys: string[]
  readonly reservation: CapacityReservation
}

/** Prepares one call. Returns an event if the call is not needed, or this process cannot make it. */
export async function prepareCall(draft: PlanDraft, state: SagaState, call: Call): Promise<SagaEvent | undefined> {
  const definition = draft.before.saga.steps[call.index] as StepDefinition
  const { step, operation, attempt } = call
  const isFirst = operation === 'invoke' && attempt === 1 && state.steps[call.index]?.doubt !== true
  const unsent = (error: StepFailure): SagaEvent =>
    // Nothing can have been sent before the first call.
    isFirst ? { type: 'refused', step, operation, error } : { type: 'failed', step, operation, error, terminal: true }
  const refusal = draft.refusals.get(callKey(call))
  if (refusal !== undefined) return unsent(refusal)
  const prepared = new PlannedCall(draft, state, call)
  try {
    if (
      isFirst &&
      definition.conditional === true &&
      !isNeeded(draft.before.saga, state.steps, call.index, await prepared.context())
    ) {
      return { type: 'omitted', step }
    }
    const answer = storable(await kindOf(definition).prepare(definition, prepared), draft.runtime.maxPayloadBytes)
    if (prepared.hasSent || (answer !== undefined && HOLDS_DATA.has(answer.type))) draft.callKeys.push(callKey(call))
    return answer
  } catch (thrown) {
    const cause = readable(thrown)
    if (isUnreadable(cause)) throw cause
    return unsent(describeError(cause))
  }
}

/** Events with data that the database may refuse because of the call. */
const HOLDS_DATA: ReadonlySet<SagaEvent['type']> = new Set(['planned', 'signalled', 'succeeded'])

/** @throws CodecError, `saga.payload_too_large`, because a kind of another package may return anything */
function storable(answer: SagaEvent | undefined, maxBytes: number): SagaEvent | undefined {
  if (answer?.type !== 'succeeded') return answer
  return { ...answer, result: stored(`result of step "${answer.step}"`, answer.result, maxBytes) }
}

/** A call of a plan; messages added to it are committed with the plan. */
class PlannedCall implements PreparedCall {
  readonly call: Call
  readonly row: SagaRow
  readonly state: StepState
  readonly sender: Sender
  readonly clock: Clock
  readonly maxPayloadBytes: number
  readonly #draft: PlanDraft
  readonly #saga: SagaState
  /** True if the call added a message that is committed with the plan. */
  hasSent = false
  #context: Promise<RequestContext> | undefined

  constructor(draft: PlanDraft, saga: SagaState, call: Call) {
    this.call = call
    this.row = draft.before.row
    this.state = saga.steps[call.index] as StepState
    this.sender = draft.runtime
    this.clock = draft.runtime.clock
    this.maxPayloadBytes = draft.runtime.maxPayloadBytes
    this.#draft = draft
    this.#saga = saga
  }

  get body(): TransactionBody | undefined {
    return this.#draft.runtime.runningTransactions.get(this.row)
  }

  context(): Promise<RequestContext> {
    this.#context ??= this.#read()
    return this.#context
  }

  mayRun(): boolean {
    return this.#draft.reservation.mayRun()
  }

  mayAsk(): boolean {
    // Code that runs or has joined here waits for the reply, also while this process closes, or without `run`.
    return this.#draft.reservation.mayAsk() || this.#draft.runtime.runningTransactions.isHere(this.row)
  }

  send(command: EncodedMessage, at?: DirectTarget): void {
    const { runtime, before, spans } = this.#draft
    this.hasSent = true
    if (runtime.telemetry === undefined) return this.#leave(command, at)
    const { message, span } = runtime.telemetry.command(before.row, this.call, command)
    spans.push(span)
    this.#leave(message, at)
  }

  #leave(message: EncodedMessage, target: DirectTarget | undefined): void {
    const { messages, requests } = this.#draft
    if (target === undefined) return void messages.push(message)
    const command = readCommandHeaders(message.headers) as CommandHeaders
    requests.push({ target, message, command, waitMs: this.state.leftMs ?? 0 })
  }

  async start(saga: Saga, { id, input, earlier }: ChildStart, parent: SagaParent): Promise<void> {
    this.hasSent = true
    const { runtime, starts } = this.#draft
    const { row } = await newSagaSnapshot(
      runtime,
      runtime.sql,
      saga,
      { id, input, shardMark: undefined },
      this.row.trace,
    )
    starts.push({ ...dueAtOnce(row, { ...row.state, parent }), earlier })
  }

  post(mail: SagaPost): void {
    this.hasSent = true
    this.#draft.posts.push(mail)
  }

  async #read(): Promise<RequestContext> {
    const { saga, row } = this.#draft.before
    const { index, step } = this.call
    const input = await readInput(saga, row)
    const results = await resultsOf(saga, row, this.#saga, seenUntil(saga, index))
    return { sagaId: row.id, key: stepKey(row.name, row.id, step), input, results }
  }
}

/** Removes the timeline entry of a call that is not made. */
export function withoutCall(timeline: TimelineEntry[], { step }: Call): void {
  const index = timeline.findLastIndex(
    (entry) => entry.step === step && (operationIn(entry.kind) !== undefined || entry.kind === 'waiting'),
  )
  if (index !== -1) timeline.splice(index, 1)
}
