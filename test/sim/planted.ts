/** Ways to build a mistake in around the package, which has no switch for them. */
import type { EncodedMessage } from 'concordat/binder'
import type { SqlClient, SqlExecutor, SqlTransaction, TransactionLimits } from 'concordat/core'
import type { Receiver, Transport, TransportDelivery } from 'concordat/extension'
import type { Outbox } from 'concordat/outbox'

/** Returns the object with some members replaced. Methods are bound: they use private fields. */
export function override<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const source = Object.hasOwn(members, name) ? members : target
      const value: unknown = Reflect.get(source, name, source)
      return typeof value === 'function' ? (value.bind(source) as unknown) : value
    },
  })
}

/** A client whose statements are other ones. */
export function rewritten(sql: SqlClient, rewrite: (text: string) => string): SqlClient {
  const queryOf =
    (executor: SqlExecutor): SqlExecutor['query'] =>
    (text, parameters) =>
      executor.query(rewrite(text), parameters)
  return override(sql, {
    query: queryOf(sql),
    transaction: <T>(work: (tx: SqlTransaction) => Promise<T>, limits?: TransactionLimits) =>
      sql.transaction((tx) => work(override(tx, { query: queryOf(tx) })), limits),
  })
}

/**
 * Creates a copy of a database function with a part of it left out, or replaced. @throws Error when the part is
 * missing: there would be no mistake
 */
export async function createWithout(sql: SqlClient, { name, as, part, put = '' }: Changed): Promise<void> {
  const { rows } = await sql.query<{ text: string }>(
    `SELECT pg_get_functiondef(p.oid) AS text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname || '.' || p.proname = $1`,
    [name],
  )
  const text = rows[0]?.text ?? ''
  if (!text.includes(part)) throw new Error(`no "${part}" in ${name}: the mistake cannot be built in`)
  const [schema, own] = name.split('.') as [string, string]
  const head = new RegExp(`(FUNCTION ${schema}\\.)${own}\\(`)
  await sql.query(text.replace(head, `$1${as}(`).replaceAll(part, put))
}

interface Changed {
  /** Name with its schema. */
  readonly name: string
  readonly as: string
  readonly part: string
  readonly put?: string
}

/** Each delivery comes to the consumer by way of `deliver`. */
export function onDelivery(
  transport: Transport,
  deliver: (delivery: TransportDelivery, receiver: Receiver) => void,
): Transport {
  return override(transport, {
    subscribe: (spec, receiver) =>
      transport.subscribe(spec, {
        deliver: (delivery) => deliver(delivery, receiver),
        recall: () => receiver.recall(),
        lost: (error) => receiver.lost(error),
      }),
  })
}

/** Settled before it is handled. */
export function settlesFirst(transport: Transport): Transport {
  return onDelivery(transport, (delivery, receiver) => {
    delivery.ack()
    receiver.deliver(delivery)
  })
}

/** Confirmed before the broker has it. */
export function confirmsFirst(transport: Transport): Transport {
  return override(transport, {
    publish: (messages, until) => {
      void transport.publish(messages, until)
      return Promise.resolve(messages.map(() => undefined))
    },
  })
}

/** Messages of one key are handled beside each other. */
export function forgetsKeys(transport: Transport): Transport {
  return onDelivery(transport, (delivery, receiver) =>
    receiver.deliver(override(delivery, { message: { ...delivery.message, key: null } })),
  )
}

/** Transport with a mistake: failed messages count as published. */
export function ignoresFailures(transport: Transport): Transport {
  return override(transport, {
    publish: async (messages, until) => {
      await transport.publish(messages, until)
      return messages.map(() => undefined)
    },
  })
}

/** Messages of a transaction that are to leave before it. */
class Early extends Error {
  readonly messages: readonly EncodedMessage[]

  constructor(messages: readonly EncodedMessage[]) {
    super('sent before it is decided')
    this.messages = messages
  }
}

/**
 * Outbox with a mistake: these messages leave in a transaction of their own, before the transaction that sends them is
 * written.
 */
export function sendsFirst(
  outbox: Outbox,
  isMeant: (message: EncodedMessage) => boolean,
): Pick<Outbox, 'addEncoded' | 'sql'> {
  const sent = new Set<string>()
  const { sql } = outbox
  return {
    sql: override(sql, {
      async transaction(work, limits) {
        for (;;) {
          try {
            return await sql.transaction(work, limits)
          } catch (error) {
            if (!(error instanceof Early)) throw error
            await sql.transaction((tx) => outbox.addEncoded(tx, error.messages))
            for (const { id } of error.messages) sent.add(id)
          }
        }
      },
    }),
    addEncoded: async (tx, messages) => {
      const left = messages.filter(({ id }) => !sent.has(id))
      const early = left.filter(isMeant)
      if (early.length > 0) throw new Early(early)
      if (left.length > 0) await outbox.addEncoded(tx, left)
    },
  }
}
