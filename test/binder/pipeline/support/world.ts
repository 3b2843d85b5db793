/** A pipeline with an inbox on a broker in memory and a database, whose parts are made one by one so that each can break. */
import { type Binder, createBinder, defineChannel, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { from, migratePipelines, type Pipeline, pipeline } from 'concordat/pipeline'
import { z } from 'zod'
import type { Window } from '../../../support/inside/binder.ts'
import { until } from '../../../support/until.ts'

/** @param prefix for a broker that others use as well */
export const channelsOf = (prefix = '') => ({
  prefix,
  sold: defineChannel(`${prefix}sold`, {
    payload: z.object({ sku: z.string(), cents: z.number() }),
    key: ({ sku }) => sku,
  }),
  totals: defineChannel(`${prefix}totals`, {
    payload: z.object({
      sku: z.string().nullable(),
      count: z.number(),
      cents: z.number(),
      startsAt: z.number(),
      endsAt: z.number(),
    }),
    groups: ['test'],
  }),
})
const usual = channelsOf()
export const { sold, totals } = usual
export interface Total {
  readonly sku: string | null
  readonly count: number
  readonly cents: number
  readonly startsAt: number
  readonly endsAt: number
}

let count = 0

export interface WorldOptions {
  readonly sql: SqlClient
  /** Client for the handlers' transactions; the relay and the migrations use another. */
  readonly handlers?: SqlClient
  readonly limits: { readonly count?: number; readonly everyMs?: number; readonly key?: () => string }
  readonly instances?: number
  readonly concurrency?: number
}

/** Sums sales by product. @param inbox default: that of a service */
export function totalling(
  inbox: ReturnType<typeof createInbox> | undefined,
  limits: WorldOptions['limits'],
  schema?: string,
  concurrency = 1,
  { prefix, sold: input, totals: output } = usual,
): Pipeline {
  const toTotal = ({ key, value, ...window }: Window<number>): Total => ({ ...window, sku: key, cents: value })
  return pipeline(
    `${prefix}totals`,
    from(input, {
      ...(inbox === undefined ? { once: true as const } : { inbox }),
      concurrency,
      maxAttempts: 5,
      backoff: { initialMs: 1, maxMs: 1 },
    })
      .window({ ...limits, initial: () => 0, add: (sum, { cents }) => sum + cents })
      .map(toTotal)
      .to(output),
    { schema },
  )
}

export async function world({ sql, handlers = sql, limits, instances = 1, concurrency = 1 }: WorldOptions) {
  const schema = `pipes_${Date.now().toString(36)}_${++count}`
  const outbox = createOutbox({ sql, schema, service: 'shop', partitions: 1 })
  const inbox = createInbox({ sql: handlers, schema, outbox })
  await outbox.migrate()
  await createInbox({ sql, schema }).migrate()
  await migratePipelines(sql, schema)
  const got = new Map<string, Total>()
  const read = sink(totals, { group: 'test' }, (total, { id }) => void got.set(id, total))
  const broker = memoryBroker()
  const transport = memoryTransport({ broker })
  const { bindings } = totalling(inbox, limits, schema, concurrency)
  const binder = createBinder({ service: 'shop', transport, sends: [sold], bindings: [...bindings, read] })
  const others: Binder[] = []
  for (let n = 1; n < instances; n++)
    others.push(createBinder({ service: 'shop', transport: memoryTransport({ broker }), bindings }))
  await binder.start()
  for (const other of others) await other.start()
  const relay = createRelay({ outbox, publisher: binder, idlePollMs: 5 })
  await relay.start()
  const open = async (): Promise<number> =>
    (await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM "${schema}".pipeline_window`)).rows[0]?.n ?? -1
  const counted = (): number => [...got.values()].reduce((sum, total) => sum + total.count, 0)
  return {
    schema,
    binder,
    others,
    open,
    counted,
    totals: (): readonly Total[] => [...got.values()],
    untilCounted: (n: number) => until(`${n} messages are counted`, () => counted() >= n),
    async [Symbol.asyncDispose]() {
      await relay.close()
      for (const other of others) await other.close()
      await binder.close()
    },
  }
}
