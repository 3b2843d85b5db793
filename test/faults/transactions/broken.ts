/** The mistakes that can be built in (`--broken`), made around the library: it has no switch for them. */

import type { SinkBinding } from 'concordat/binder'
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { hasCode } from 'concordat/core'
import type { Outbox } from 'concordat/outbox'
import { SAGA_HEADERS } from 'concordat/saga'
import { undo } from 'concordat/saga/undo'

type Messages = Parameters<Outbox['addEncoded']>[1]

export interface Deciding {
  /** Called within the transaction that holds a decision, when its confirmations are in the outbox. */
  readonly decides: () => Promise<void>
  /** True: a mistake, confirmations leave in a transaction of their own before that. */
  readonly tooEarly: boolean
}

/** Outbox that sends each decision before it is durable. */
export function deciding(outbox: Outbox, sql: SqlClient, { decides, tooEarly }: Deciding): Outbox {
  const addEncoded = async (tx: SqlTransaction, messages: Messages): Promise<void> => {
    const confirming = messages.filter(({ headers }) => headers[SAGA_HEADERS.operation] === 'confirm')
    const others = messages.filter((message) => !confirming.includes(message))
    if (tooEarly && confirming.length > 0) await sql.transaction((own) => outbox.addEncoded(own, confirming))
    const rest = tooEarly ? others : messages
    if (rest.length > 0) await outbox.addEncoded(tx, rest)
    if (confirming.length > 0) await decides()
  }
  return new Proxy(outbox, {
    get: (target, name) => {
      if (name === 'addEncoded') return addEncoded
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Undo participant that restores rows whatever their present values are, as if an operator had forced it each time. */
export function uncompared(binding: SinkBinding, { sql, schema }: Home): SinkBinding {
  const handler: SinkBinding['handler'] = async (request, context) => {
    const { headers } = context
    if (headers[SAGA_HEADERS.operation] === 'compensate') {
      const [saga, id, step] = [SAGA_HEADERS.saga, SAGA_HEADERS.id, SAGA_HEADERS.step].map((name) =>
        String(headers[name]),
      ) as [string, string, string]
      await undo.settle(sql, { saga, id, step }, 'restore', { schema }).catch((error: unknown) => {
        if (!hasCode(error, 'saga.undo_not_found')) throw error
      })
    }
    return binding.handler(request, context)
  }
  return { ...binding, handler }
}

interface Home {
  readonly sql: SqlClient
  readonly schema: string
}
