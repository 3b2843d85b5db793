import {
  decodePayload,
  type HandlerContext,
  type Headers,
  type SinkBinding,
  type TransactionContext,
} from 'concordat/binder'
import { type SqlClient, silentLogger, systemClock } from 'concordat/core'
import { SAGA_HEADERS, type SagaReply, sagaReplies } from 'concordat/saga'
import type { ContextLogger } from '../../support/inside/core.ts'
import {
  type CommandHeaders,
  type DirectAnswer,
  type DirectTarget,
  type Operation,
  readCommandHeaders,
} from '../../support/inside/saga.ts'

export function commandHeaders(sagaId: string, operation: Operation, attempt = 1, step = 'reserve'): Headers {
  return {
    [SAGA_HEADERS.saga]: 'order',
    [SAGA_HEADERS.id]: sagaId,
    [SAGA_HEADERS.step]: step,
    [SAGA_HEADERS.operation]: operation,
    [SAGA_HEADERS.key]: `order/${sagaId}/${step}`,
    [SAGA_HEADERS.attempt]: attempt,
    [SAGA_HEADERS.replyTo]: 'orders.saga-replies',
  }
}

/** Calls the binding's handler as the binder does: again up to `attempts` times when it rejects. */
export async function deliver(
  binding: SinkBinding,
  payload: unknown,
  headers: Headers,
  attempts = 3,
  time = 0,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const context: HandlerContext = {
      id: `m${attempt}`,
      channel: binding.input.name,
      key: null,
      headers,
      time,
      source: 'test',
      attempt,
      group: 'stock',
      position: 'here',
      redelivered: false,
      signal: new AbortController().signal,
      log: silentLogger as ContextLogger,
    }
    try {
      await binding.handler(payload, context as TransactionContext)
      return
    } catch (error) {
      if (attempt === attempts) throw error
    }
  }
}

/** Asks a participant as the coordinator does: once. */
export function askTarget<In>(target: DirectTarget<In>, payload: unknown, headers: Headers): Promise<DirectAnswer> {
  const command = readCommandHeaders(headers) as CommandHeaders
  const { name } = target.channel
  const message = {
    id: 'm',
    destination: name,
    key: command.key,
    type: name,
    source: 'test',
    contentType: 'application/json',
    time: 0,
    headers,
    body: Buffer.from(JSON.stringify(payload)),
  }
  return target.asking.ask(
    { target: target as DirectTarget, message, command },
    systemClock,
    new AbortController().signal,
  )
}

/** The replies that wait in an outbox, oldest first, and removes them. */
export async function takeReplies(sql: SqlClient, schema: string): Promise<SagaReply[]> {
  const { rows } = await sql.query<{ payload: Uint8Array }>(
    `WITH gone AS (DELETE FROM ${schema}.outbox RETURNING seq, payload) SELECT payload FROM gone ORDER BY seq`,
  )
  const channel = sagaReplies('orders')
  return Promise.all(
    rows.map(async ({ payload }) =>
      decodePayload(channel, {
        id: '',
        destination: channel.name,
        key: null,
        type: '',
        source: '',
        contentType: 'application/json',
        time: 0,
        headers: {},
        body: payload,
      }),
    ),
  )
}
