import { type Channel, type SinkBinding, sink } from 'concordat/binder'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import type { Outbox } from 'concordat/outbox'
import { Refusal, SAGA_HEADERS, type SagaReply, sagaReplies } from 'concordat/saga'
import type { Operation } from '../../support/inside/saga.ts'

/** A participant that has forgotten everything: it does what each message says. */
export function forgetful<In, Out>(
  channel: Channel<In, Out>,
  { group, concurrency, sql, outbox, service = 'bank' }: ForgetfulOptions,
  handlers: Handlers<Out>,
): SinkBinding {
  return sink(channel, { group, concurrency }, (request, message) =>
    sql.transaction(async (tx) => {
      const { headers } = message
      const asked = String(headers[SAGA_HEADERS.operation])
      const operation: Operation = asked === 'compensate' || asked === 'confirm' ? asked : 'invoke'
      const [saga, sagaId, step, key] = [SAGA_HEADERS.saga, SAGA_HEADERS.id, SAGA_HEADERS.step, SAGA_HEADERS.key].map(
        (name) => String(headers[name]),
      ) as [string, string, string, string]
      const head = { saga, sagaId, step, operation } as const
      let reply: SagaReply = { ...head, status: 'ok' }
      try {
        await handlers[operation]?.(request, { tx, key })
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        reply = { ...head, status: 'refused', code: error.code, message: error.message }
      }
      await outbox.add(tx, sagaReplies(service), reply, { key: sagaId })
    }),
  )
}

interface ForgetfulOptions {
  readonly group: string
  readonly concurrency: number
  readonly sql: SqlClient
  readonly outbox: Outbox
  /** Service whose sagas send the commands. @default 'bank' */
  readonly service?: string
}

type Handlers<Request> = Readonly<
  Partial<
    Record<Operation, (request: Request, context: { readonly tx: SqlExecutor; readonly key: string }) => Promise<void>>
  >
>
