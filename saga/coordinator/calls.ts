/** Readying the calls of a transition: is the step needed, and what has to leave with the commit so that it is made. */

import type { EncodedMessage } from '../../binder/channel/message.ts'
import type { AmbientHeaders } from '../../binder/sending/ambient-headers.ts'
import { synchronous } from '../../core/callbacks.ts'
import type { Clock } from '../../core/clock.ts'
import type { TelemetrySpan } from '../../core/telemetry.ts'
import { isNeeded } from '../definition/condition.ts'
import type { RequestContext } from '../definition/contexts.ts'
import { stepKey } from '../definition/graph.ts'
import { delayOf, keptSignal } from '../definition/passive.ts'
import type { Saga, StepDefinition } from '../definition/saga.ts'
import { type SubSagaDefinition } from '../definition/saga.ts'
import { addressOf, childKey } from '../definition/sub-saga.ts'
import { SagaInputUnreadable } from '../errors.ts'
import type { SagaEvent, TimelineEntry } from '../machine/event.ts'
import type { Call, SagaParent, SagaState, StepState } from '../machine/state.ts'
import type { SagaPost, SagaTrace, SagaWrite } from '../store/rows.ts'
import { type SagaReply } from '../wire/reply.ts'
import { encodeCommand } from '../wire/wire.ts'
import { readInput } from './input.ts'
import { describeError, resultsOf } from './outcome.ts'
import type { Snapshot } from './plan.ts'
import type { SagaTelemetry } from './telemetry.ts'

/** What readying calls needs of the coordinator. */
export interface CallHost {
  readonly service: string
  readonly clock: Clock
  readonly telemetry: SagaTelemetry | undefined
  readonly headers: AmbientHeaders | undefined
  /** The first write of a saga that is a step of another: due at once, for whoever finds it. */
  begin(saga: Saga, id: string, input: unknown, parent: SagaParent, trace: SagaTrace | null): Promise<SagaWrite>
}

/** What readying the calls of a plan needs and gathers. */
export interface Asked {
  readonly host: CallHost
  readonly before: Snapshot
  readonly messages: EncodedMessage[]
  /** To end once it is durable. */
  readonly spans: TelemetrySpan[]
  readonly starts: SagaWrite[]
  readonly posts: SagaPost[]
  /** Whether this process makes the local calls: one answer for all of a plan. */
  readonly mayRun: () => boolean
}

/** Readies one call; an event when it is not needed, or cannot be made by this process. */
export async function prepareCall(asked: Asked, state: SagaState, call: Call): Promise<SagaEvent | undefined> {
  const { before, messages, mayRun, host } = asked
  const { saga, row } = before
  const definition = saga.steps[call.index] as StepDefinition
  const { step, operation, attempt } = call
  const toRun = (): SagaEvent | undefined => (mayRun() ? undefined : { type: 'yielded', step })
  try {
    const asks = operation === 'invoke' && attempt === 1 && definition.conditional === true
    if (definition.kind === 'local' && !asks) return toRun()
    const input = await readInput(saga, row)
    const results = await resultsOf(saga, state, definition.group ?? call.index)
    const context = { sagaId: row.id, key: stepKey(row.name, row.id, step), input, results }
    if (asks && !isNeeded(definition, context)) return { type: 'omitted', step }
    if (definition.kind === 'local') return toRun()
    if (definition.kind === 'timer') return { type: 'armed', step, ms: delayOf(definition, context, host.clock) }
    if (definition.kind === 'signal') return keptSignal(state.steps[call.index])
    if (definition.kind === 'saga') return await callSaga(asked, state, definition, call, context)
    const { round } = state.steps[call.index] as StepState
    const sending = { saga: row.name, operation, attempt, birth: row.birth, round }
    const command = await encodeCommand(definition, sending, host, context)
    messages.push(host.telemetry === undefined ? command : traced(asked, host.telemetry, call, command))
    return undefined
  } catch (cause) {
    if (cause instanceof SagaInputUnreadable) throw cause
    const error = describeError(cause)
    const neverSent = operation === 'invoke' && attempt === 1
    return neverSent
      ? { type: 'refused', step, operation, error }
      : { type: 'failed', step, operation, error, terminal: true }
  }
}

function traced(
  { before, spans }: Asked,
  telemetry: SagaTelemetry,
  call: Call,
  command: EncodedMessage,
): EncodedMessage {
  const { message, span } = telemetry.command(before.row, call, command)
  spans.push(span)
  return message
}

/** Starts the saga that the step is, or has it undone. */
async function callSaga(
  asked: Asked,
  state: SagaState,
  step: SubSagaDefinition,
  call: Call,
  context: RequestContext,
): Promise<undefined> {
  const { row } = asked.before
  const { operation } = call
  const to = childKey(row, step.name, step.saga)
  const self = { name: row.name, id: row.id, step: step.name, ...(row.birth !== null && { birth: row.birth }) }
  if (operation === 'invoke') {
    const parent = { ...self, operation }
    asked.starts.push(
      await asked.host.begin(
        step.saga,
        to.id,
        synchronous(`input of step "${step.name}"`, step.input(context), 'an input'),
        parent,
        row.trace,
      ),
    )
    return undefined
  }
  const nothing: SagaReply = { ...addressOf({ ...self, operation }), status: 'ok' }
  const lost: SagaReply = {
    ...nothing,
    status: 'failed',
    final: true,
    code: 'saga.child_missing',
    message: `the saga ${to.name}/${to.id} had completed and is not there any more: undo by hand what it did, then skip the step`,
  }
  const isDone = state.steps[call.index]?.result !== undefined
  asked.posts.push({
    to,
    mail: { undo: true, of: self },
    otherwise: { to: row, mail: nothing },
    missing: { to: row, mail: isDone ? lost : nothing },
  })
  return undefined
}

/** Takes back the note of a call that is not made. */
export function withoutCall(timeline: TimelineEntry[], { step }: Call): void {
  const index = timeline.findLastIndex(
    (entry) =>
      entry.step === step && (entry.kind === 'invoking' || entry.kind === 'compensating' || entry.kind === 'waiting'),
  )
  if (index !== -1) timeline.splice(index, 1)
}
