/** The mistakes that can be built in (`--broken`), made around the library: it has no switch for them. */
import { type Channel, type SinkBinding, sink } from 'concordat/binder'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import type { Outbox } from 'concordat/outbox'
import { Refusal, SAGA_HEADERS, type SagaReply, sagaReplies } from 'concordat/saga'

const CHECK = 'AND s.revision = w.revision - 1'

/** `saga_write` once more, with the check left out by which every write stands or falls. */
export async function createUnchecked(sql: SqlClient): Promise<void> {
  const { rows } = await sql.query<{ text: string }>(
    `SELECT pg_get_functiondef('concordat.saga_write(jsonb)'::regprocedure) AS text`,
  )
  const text = rows[0]?.text ?? ''
  if (!text.includes(CHECK)) throw new Error(`no "${CHECK}" in saga_write: the mistake cannot be built in`)
  await sql.query(text.replace('saga_write', 'saga_write_unchecked').replace(CHECK, ''))
}

/** Writes sagas whoever owns them and whatever became of them since. */
export function uncheckedWrites(sql: SqlClient): SqlClient {
  const query: SqlExecutor['query'] = (text, parameters) => sql.query(unchecked(text), parameters)
  return {
    query,
    transaction: (work) =>
      sql.transaction((tx) =>
        work({
          inTransaction: true,
          query: (text, parameters) => tx.query(unchecked(text), parameters),
          afterCommit: tx.afterCommit,
        }),
      ),
  }
}

function unchecked(text: string): string {
  return text.replace('.saga_write(', '.saga_write_unchecked(')
}

/** A participant that has forgotten everything: it does what each message says. */
export function forgetful<In, Out>(
  channel: Channel<In, Out>,
  { group, concurrency, sql, outbox }: ForgetfulOptions,
  handlers: Handlers<Out>,
): SinkBinding {
  return sink(channel, { group, concurrency }, (request, message) =>
    sql.transaction(async (tx) => {
      const { headers } = message
      const operation = headers[SAGA_HEADERS.operation] === 'compensate' ? 'compensate' : 'invoke'
      const [saga, sagaId, step, key] = [SAGA_HEADERS.saga, SAGA_HEADERS.id, SAGA_HEADERS.step, SAGA_HEADERS.key].map(
        (name) => String(headers[name]),
      ) as [string, string, string, string]
      const head = { saga, sagaId, step, operation } as const
      let reply: SagaReply = { ...head, status: 'ok' }
      try {
        await handlers[operation](request, { tx, key })
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        reply = { ...head, status: 'refused', code: error.code, message: error.message }
      }
      await outbox.add(tx, sagaReplies('bank'), reply, { key: sagaId })
    }),
  )
}

interface ForgetfulOptions {
  readonly group: string
  readonly concurrency: number
  readonly sql: SqlClient
  readonly outbox: Outbox
}

interface Handlers<Request> {
  invoke(request: Request, context: { readonly tx: SqlExecutor; readonly key: string }): Promise<void>
  compensate(request: Request, context: { readonly tx: SqlExecutor; readonly key: string }): Promise<void>
}
