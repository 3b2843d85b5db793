/**
 * Messages between a coordinator and its participants. A command is the request payload on the participant's channel with these
 * headers, keyed by the saga id; a reply is a `SagaReply` on `<service>.saga-replies`, with the same key. A participant can be
 * written in any language that follows these shapes and the rules of `docs/reference/wire-format.md`.
 */

import { type Channel, checkName, defineChannel } from '../../binder/channel/channel.ts'
import type { EncodedMessage, Headers } from '../../binder/channel/message.ts'
import { encodeMessage, type SendOptions } from '../../binder/channel/message-codec.ts'
import { type AmbientHeaders, withAmbient } from '../../binder/sending/ambient-headers.ts'
import { keptByText } from '../../core/kept-by-text.ts'
import type { StandardSchemaV1 } from '../../core/schema.ts'
import { synchronous } from '../../core/unawaited-callbacks.ts'
import { stepKey } from '../definition/saga-id.ts'
import type { RequestContext } from '../definition/step-contexts.ts'
import { isOperation, type Operation, operationNames } from '../machine/operation.ts'
import { inSaga } from './current-saga.ts'
import type { SagaReply } from './reply.ts'

/** Message headers with which a command and its reply identify the call of a saga. @see docs/reference/wire-format.md */
export const HEADERS = Object.freeze({
  saga: 'saga-name',
  id: 'saga-id',
  step: 'saga-step',
  operation: 'saga-operation',
  /** The barrier's key, `<saga>/<id>/<step>`: the same for every resend and for the compensation. */
  key: 'saga-key',
  /** Number of this send of the operation, from 1; a `failed` reply repeats it. */
  attempt: 'saga-attempt',
  /** Distinguishes the saga from an earlier one with the same id that was deleted; replies repeat it. Absent: unknown. */
  birth: 'saga-birth',
  /** How many times an operator retried it after a refusal; absent: never. Replies repeat it. */
  round: 'saga-round',
  replyTo: 'saga-reply-to',
  /** For a compensation, `true`: the reply to the step was `ok`. Absent: its outcome is unknown. */
  succeeded: 'saga-succeeded',
  /** Required kind of participant: `tcc`. Absent: one that can invoke and compensate. */
  kind: 'saga-kind',
})

/** Kind of participant that a command of `.tcc` requires. */
export const TCC = 'tcc'

/** Suffix of a service's reply channel. */
export const REPLIES = '.saga-replies'

/** The durable group in which the coordinators of a service share the replies. */
export const REPLY_GROUP = 'coordinator'

/** Returns the channel on which the coordinators of `service` receive replies. A participant's binder lists it in `sends`. */
export function sagaReplies(service: string): Channel<SagaReply> {
  return replyChannel(`${service}${REPLIES}`)
}

/** Returns the reply channel with this name; `undefined` for any other destination. */
export function replyPlace(destination: string): Channel<SagaReply> | undefined {
  return destination.endsWith(REPLIES) ? replyChannel(destination) : undefined
}

/** Returns the reply channel with this name. @throws TypeError when the name is not a destination */
export const replyChannel: (name: string) => Channel<SagaReply> = keptByText(defineReplies)

function defineReplies(name: string): Channel<SagaReply> {
  return defineChannel(checkName('saga-reply-to', name, 200), {
    payload: REPLY_SCHEMA,
    key: (reply) => reply.sagaId,
    groups: [REPLY_GROUP],
  })
}

/** Content of a command's headers, or `undefined` when it is not a saga command. */
export interface CommandHeaders {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  readonly operation: Operation
  readonly key: string
  readonly attempt: number | undefined
  readonly replyTo: string
  /** Empty if its coordinator does not send one. */
  readonly birth: string
  /** 0: no operator retried it. */
  readonly round: number
  /** For a compensation: the coordinator knows that the step was done. */
  readonly succeeded?: true | undefined
  /** Required kind of participant; `undefined`: one that can invoke and compensate. */
  readonly kind?: string | undefined
  /** Epoch ms of an `invoke` so old that records of its time may be purged. Set by the participant, not part of the headers. */
  readonly sentAt?: number | undefined
}

export function readCommandHeaders(headers: Headers): CommandHeaders | undefined {
  const text = (name: string): string | undefined => {
    const value = headers[name]
    // No table can contain a NUL.
    return typeof value === 'string' && value !== '' && !value.includes('\0') ? value : undefined
  }
  const [saga, sagaId, step] = [text(HEADERS.saga), text(HEADERS.id), text(HEADERS.step)]
  const [operation, key, replyTo] = [text(HEADERS.operation), text(HEADERS.key), text(HEADERS.replyTo)]
  const attempt = headers[HEADERS.attempt]
  if (saga === undefined || sagaId === undefined || step === undefined || key === undefined || replyTo === undefined) {
    return undefined
  }
  if (!isOperation(operation)) return undefined
  const round = headers[HEADERS.round]
  return {
    saga,
    sagaId,
    step,
    operation,
    key,
    replyTo,
    attempt: typeof attempt === 'number' && Number.isSafeInteger(attempt) && attempt > 0 ? attempt : undefined,
    birth: text(HEADERS.birth) ?? '',
    kind: text(HEADERS.kind),
    ...(isTrue(headers[HEADERS.succeeded]) && { succeeded: true }),
    round: typeof round === 'number' && Number.isSafeInteger(round) && round > 0 ? Math.min(round, MAX_ROUND) : 0,
  }
}

/** Reads a boolean. Headers of HTTP, and of producers without typed headers, are text. */
function isTrue(value: Headers[string] | undefined): boolean {
  return value === true || value === 'true'
}

/** Returns the recipient and subject of a reply to this command. */
export function answerTo(command: CommandHeaders): Omit<SagaReply, 'status'> {
  const { saga, sagaId, step, operation, birth, round } = command
  return { saga, sagaId, step, operation, ...(birth !== '' && { birth }), round }
}

/** Maximum of the barrier's column. */
const MAX_ROUND = 2 ** 31 - 1

/** Identifies a send of an operation. */
export interface Sending {
  readonly saga: string
  readonly operation: Operation
  readonly attempt: number
  readonly birth: string
  readonly round: number | undefined
  readonly kind?: string | undefined
  readonly succeeded?: true | undefined
}

/** Data of the sender for a command. */
export interface Sender {
  readonly service: string
  readonly headers: AmbientHeaders | undefined
}

/** Request of a step, and its recipient. */
export interface Commanded {
  readonly name: string
  readonly to: Channel
  readonly request: (context: RequestContext) => unknown
}

/** Encodes one send of a command. @throws errors of `request` and of the channel's schema; SendError from `headers` */
export async function encodeCommand(
  step: Commanded,
  { saga, operation, attempt, birth, round, kind, succeeded }: Sending,
  { service, headers }: Sender,
  context: RequestContext,
): Promise<EncodedMessage> {
  const { sagaId } = context
  const payload: unknown = synchronous(`request of step "${step.name}"`, step.request(context), 'a payload')
  const key = stepKey(saga, sagaId, step.name)
  const options: SendOptions = {
    key: sagaId,
    headers: {
      [HEADERS.saga]: saga,
      [HEADERS.id]: sagaId,
      [HEADERS.step]: step.name,
      [HEADERS.operation]: operation,
      [HEADERS.key]: key,
      [HEADERS.attempt]: attempt,
      [HEADERS.replyTo]: `${service}${REPLIES}`,
      [HEADERS.birth]: birth,
      ...(round !== undefined && { [HEADERS.round]: round }),
      ...(kind !== undefined && { [HEADERS.kind]: kind }),
      ...(succeeded === true && { [HEADERS.succeeded]: true }),
    },
  }
  if (headers === undefined) return encodeMessage(step.to, payload, service, options)
  const scope = { saga, sagaId, step: step.name, operation, key }
  return encodeMessage(
    step.to,
    payload,
    service,
    inSaga(scope, () => withAmbient(headers, step.to.name, options)),
  )
}

const REPLY_SCHEMA: StandardSchemaV1<SagaReply> = {
  '~standard': {
    version: 1,
    vendor: 'concordat',
    validate: (value) => {
      const problem = replyProblem(value)
      return problem === undefined ? { value: value as SagaReply } : { issues: [{ message: problem }] }
    },
  },
}

function replyProblem(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'expected an object'
  const reply = value as Partial<Record<keyof SagaReply, unknown>>
  for (const name of ['saga', 'sagaId', 'step'] as const) {
    if (typeof reply[name] !== 'string') return `${name}: expected a string`
    // No table can contain it, so no saga has it.
    if (reply[name].includes('\0')) return `${name}: expected a string without NUL`
  }
  for (const name of ['code', 'message'] as const) {
    const text = reply[name] ?? ''
    if (typeof text !== 'string') return `${name}: expected a string`
  }
  if (!isOperation(reply.operation)) return `operation: expected ${operationNames()}`
  if (reply.status !== 'ok' && reply.status !== 'refused' && reply.status !== 'failed') {
    return 'status: expected ok, refused or failed'
  }
  if (reply.birth !== undefined && typeof reply.birth !== 'string') return 'birth: expected a string'
  if (reply.round !== undefined && typeof reply.round !== 'number') return 'round: expected a number'
  return reply.status === 'failed' ? failureProblem(reply) : undefined
}

/** A text instead of a number or a boolean would match no attempt, or repeat the command in vain. */
function failureProblem({ attempt, final }: Partial<Record<keyof SagaReply, unknown>>): string | undefined {
  if (typeof (attempt ?? 0) !== 'number') return 'attempt: expected a number'
  if (typeof (final ?? false) !== 'boolean') return 'final: expected true or false'
  return undefined
}
