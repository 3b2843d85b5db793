/** JSON Schema of the headers of messages other than the sender's own: see `docs/reference/wire-format.md`. */

import type { Operation } from '../engine-types.ts'
import type { JsonObject } from './document-types.ts'

export type Protocol = 'kafka' | 'amqp'

const text = (description: string): JsonObject => ({ type: 'string', description })
const object = (description: string, properties: JsonObject, required: readonly string[]): JsonObject => ({
  type: 'object',
  description,
  properties,
  required,
})

const OPERATIONS: Readonly<Record<Operation, true>> = { invoke: true, confirm: true, compensate: true }
const OPERATION: JsonObject = { type: 'string', enum: Object.keys(OPERATIONS) }

const TRACE: JsonObject = {
  traceparent: text('W3C Trace Context, with telemetry only.'),
  tracestate: text('W3C Trace Context, with telemetry only.'),
}

function cloudEvents(prefix: string, where: string): JsonObject {
  return object(
    `The attributes of a CloudEvent in binary mode ${where}.`,
    {
      [`${prefix}specversion`]: { type: 'string', const: '1.0' },
      [`${prefix}id`]: text('The same message sent again has the same id: deduplicate by source and id.'),
      [`${prefix}source`]: text('The sending service.'),
      [`${prefix}type`]: text('Name of the channel that the message was first sent to.'),
      [`${prefix}time`]: { type: 'string', format: 'date-time' },
      [`${prefix}partitionkey`]: text('The key; absent: the message has no order with others.'),
      ...TRACE,
    },
    [`${prefix}specversion`, `${prefix}id`, `${prefix}source`, `${prefix}type`, `${prefix}time`],
  )
}

const CLOUD_EVENTS = { kafka: 'CloudEventsOnKafka', amqp: 'CloudEventsOnAmqp' } as const

/** By name, in the document's components. */
export const HEADER_SCHEMAS: Readonly<Record<string, JsonObject>> = {
  CloudEventsOnKafka: cloudEvents('ce_', 'on Kafka'),
  CloudEventsOnAmqp: cloudEvents('cloudEvents:', 'on RabbitMQ'),
  SagaCommandHeaders: object(
    'Which call of which saga the message is. The reply repeats it.',
    {
      'saga-name': text('Name of the saga.'),
      'saga-id': text('Id of the saga.'),
      'saga-step': text('Name of the step.'),
      'saga-operation': OPERATION,
      'saga-kind': text('`tcc` in the commands of a TCC step.'),
      'saga-key': text('Idempotency key: the same for every repetition and for the compensation.'),
      'saga-attempt': { type: ['integer', 'string'], description: 'Which sending of the operation it is, from 1.' },
      'saga-reply-to': text('The channel for the reply.'),
      'saga-birth': text('Repeat it in the reply.'),
      'saga-round': { type: ['integer', 'string'], description: 'Repeat it in the reply.' },
    },
    ['saga-name', 'saga-id', 'saga-step', 'saga-operation', 'saga-key', 'saga-reply-to'],
  ),
  RequestHeaders: object(
    'A request that wants an answer has both.',
    {
      'request-id': text('Repeat it in the reply as `reply-to-request`.'),
      'request-reply-to': text('The destination for the reply.'),
    },
    [],
  ),
  ReplyHeaders: object(
    'Which request the message answers.',
    {
      'reply-to-request': text('The `request-id` of the request.'),
      'reply-status': {
        type: 'string',
        enum: ['ok', 'failed'],
        description: 'failed: the body is `{ reason, message, retryable }`.',
      },
    },
    ['reply-to-request', 'reply-status'],
  ),
  DeadLetterHeaders: object(
    'Why the message was given up.',
    {
      'dead-letter-channel': text('Where it was handled.'),
      'dead-letter-group': text('Which group could not handle it.'),
      'dead-letter-position': text('Where it lay, for people.'),
      'dead-letter-time': { type: 'string', format: 'date-time' },
      'dead-letter-attempts': { type: ['integer', 'string'], description: 'Number of handler calls.' },
      'dead-letter-service': text('The service that gave up.'),
      'dead-letter-error-name': text('The error.'),
      'dead-letter-error-message': text('The error.'),
      'dead-letter-error-code': text("The error's code, when it has one."),
      'dead-letter-error-stack': text('The error.'),
    },
    ['dead-letter-channel', 'dead-letter-group', 'dead-letter-time', 'dead-letter-service'],
  ),
  RetryHeaders: object(
    'A message that waits for its next attempt.',
    {
      'concordat-retry-attempts': { type: ['integer', 'string'], description: 'Number of handler calls so far.' },
      'concordat-retry-channel': text('The channel that it comes from.'),
      'concordat-retry-position': text('Where the original lay.'),
    },
    ['concordat-retry-attempts'],
  ),
}

/** Input of a coordinator: the payload of its reply channel. */
export const SAGA_REPLY: JsonObject = {
  ...object(
    'What a participant answers.',
    {
      saga: text('Name of the saga.'),
      sagaId: text('Id of the saga; also the key.'),
      step: text('Name of the step.'),
      operation: OPERATION,
      status: {
        type: 'string',
        enum: ['ok', 'refused', 'failed'],
        description: 'refused: a definite no, nothing was done. failed: it did not work.',
      },
      result: { description: 'What the step returned, with `ok`.' },
      code: text('Why, with `refused` and `failed`.'),
      message: text('Why, for people.'),
      final: { type: 'boolean', description: 'With `failed`: asking again is pointless.' },
      attempt: { type: 'integer', description: 'With `failed`: the header `saga-attempt`.' },
      birth: text('The header `saga-birth`.'),
      round: { type: 'integer', description: 'The header `saga-round`.' },
    },
    ['saga', 'sagaId', 'step', 'operation', 'status'],
  ),
}

/** The headers of one message: CloudEvents on the given brokers, and all others. */
export function headersOf(
  protocols: readonly Protocol[],
  others: readonly string[],
  properties: JsonObject,
): JsonObject {
  const ref = (name: string): JsonObject => ({ $ref: `#/components/schemas/${name}` })
  const events = protocols.map((protocol) => ref(CLOUD_EVENTS[protocol]))
  const first = events.length === 1 ? events : events.length === 0 ? [] : [{ anyOf: events }]
  const all = [...first, ...others.map(ref)]
  return {
    type: 'object',
    ...(all.length > 0 && { allOf: all }),
    ...(Object.keys(properties).length > 0 && { properties }),
  }
}

/** The names of the schemas that `headersOf` refers to. */
export const headerSchemaNames = (protocols: readonly Protocol[]): readonly string[] =>
  protocols.map((protocol) => CLOUD_EVENTS[protocol])

/** Headers of an example. */
export function exampleHeaders(protocol: Protocol, channel: string, source: string): JsonObject {
  const prefix = protocol === 'kafka' ? 'ce_' : 'cloudEvents:'
  return {
    [`${prefix}specversion`]: '1.0',
    [`${prefix}id`]: '01990f3e-6b1c-7a54-9c1e-3f0b6a2d4c11',
    [`${prefix}source`]: source,
    [`${prefix}type`]: channel,
    [`${prefix}time`]: '2026-01-02T03:04:05.678Z',
  }
}
