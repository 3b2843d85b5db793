/** A service with a coordinator and a service with a participant, over the memory transport, each with a schema. */

import type { PGlite } from '@electric-sql/pglite'
import { type Binder, createBinder, defineChannel, type SinkBinding } from 'concordat/binder'
import { quoteIdentifier, type SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { type MemoryBroker, memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay, type Outbox, type Relay } from 'concordat/outbox'
import { migrateParticipant, type ParticipantHandlers, participant, type Saga, sagaReplies } from 'concordat/saga'
import { type Coordinator, createCoordinator } from 'concordat/saga/coordinator'
import { z } from 'zod'
import type { BindingControl } from '../../support/inside/binder.ts'
import type { CoordinatorOptions } from '../../support/inside/saga.ts'
import { freshPglite } from '../../support/pglite.ts'

export const stockCommands = defineChannel('stock.commands', {
  payload: z.object({ sku: z.string(), n: z.number() }),
})
export type StockCommand = { sku: string; n: number }

/** Backoff that retries at once. */
export const FAST = { initialMs: 1, maxMs: 5, jitter: 0 } as const

export interface WorldOptions {
  readonly sagas: readonly Saga<unknown, unknown, object>[]
  readonly handlers?: ParticipantHandlers<StockCommand>
  readonly sql?: SqlClient
  readonly coordinator?: Partial<CoordinatorOptions>
  readonly participantAttempts?: number
  /** The participant's own database. @default that of the coordinator */
  readonly stockSql?: SqlClient
  readonly effects?: 'anywhere' | 'tx'
}

export interface World {
  readonly sql: SqlClient
  /** Quoted: the coordinator's and the participant's. */
  readonly schema: string
  readonly stockSchema: string
  readonly outbox: Outbox
  readonly stockOutbox: Outbox
  readonly participant: SinkBinding
  readonly coordinator: Coordinator
  /** Creates another instance of the coordinator on the same tables, without a binder of its own. */
  readonly another: (options?: Partial<CoordinatorOptions>) => Coordinator
  /** Starts everything. */
  readonly start: () => Promise<void>
  readonly events: (saga: string, id: string) => Promise<string[]>
  /** The coordinator's binder. */
  readonly binder: Binder
  /** The participant's binding: pause, resume. */
  readonly stock: () => BindingControl
  readonly close: () => Promise<void>
}

let database: PGlite | undefined
let count = 0

/** Returns the embedded database of the test file. */
export function embedded(): SqlClient {
  database ??= freshPglite()
  return pgliteClient(database)
}

/** Starting it takes seconds on a busy machine: not within a test's time. */
export async function openEmbedded(): Promise<void> {
  await embedded().query('SELECT 1')
}

export async function closeEmbedded(): Promise<void> {
  await database?.close()
  database = undefined
}

export async function setupWorld(options: WorldOptions): Promise<World> {
  const sql = options.sql ?? embedded()
  const stockSql = options.stockSql ?? sql
  const run = `${Date.now().toString(36)}_${++count}`
  const [schema, stockSchema] = [`orders_${run}`, `stock_${run}`]
  const outbox = createOutbox({ sql, service: 'orders', schema, partitions: 1 })
  const stockOutbox = createOutbox({ sql: stockSql, service: 'stock', schema: stockSchema, partitions: 1 })
  const create = (more: Partial<CoordinatorOptions> = {}): Coordinator =>
    createCoordinator({
      service: 'orders',
      sql,
      outbox,
      schema,
      sagas: options.sagas,
      pollMs: 50,
      ...options.coordinator,
      ...more,
    })
  const coordinator = create()
  const side = participant(
    stockCommands,
    {
      group: 'stock',
      sql: stockSql,
      outbox: stockOutbox,
      schema: stockSchema,
      backoff: FAST,
      concurrency: 4,
      maxAttempts: options.participantAttempts ?? 3,
      effects: options.effects,
    },
    options.handlers ?? { invoke: () => undefined, compensate: () => undefined },
  )
  await outbox.migrate()
  await stockOutbox.migrate()
  await coordinator.migrate()
  await migrateParticipant(stockSql, stockSchema)
  const parts = wire(memoryBroker(), coordinator, side, outbox, stockOutbox)
  return {
    sql,
    schema: quoteIdentifier(schema),
    stockSchema: quoteIdentifier(stockSchema),
    outbox,
    stockOutbox,
    participant: side,
    coordinator,
    another: create,
    start: async () => {
      for (const binder of parts.binders) await binder.start()
      for (const relay of parts.relays) await relay.start()
      await coordinator.run()
    },
    binder: parts.binders[0] as Binder,
    stock: () => (parts.binders[1] as Binder).binding('stock.commands.stock'),
    events: async (saga, id) => {
      const { rows } = await sql.query<{ text: string }>(
        `SELECT kind || coalesce(' ' || step, '') AS text FROM ${quoteIdentifier(schema)}.saga_event
         WHERE saga = $1 AND id = $2 ORDER BY seq`,
        [saga, id],
      )
      return rows.map(({ text }) => text)
    },
    close: async () => {
      for (const relay of parts.relays) await relay.close()
      for (const binder of parts.binders) await binder.close()
      await coordinator.close()
    },
  }
}

function wire(
  broker: MemoryBroker,
  coordinator: Coordinator,
  side: SinkBinding,
  outbox: Outbox,
  stockOutbox: Outbox,
): { binders: Binder[]; relays: Relay[] } {
  const orders = createBinder({
    service: 'orders',
    transport: memoryTransport({ broker }),
    bindings: coordinator.bindings,
    sends: coordinator.channels,
  })
  const stock = createBinder({
    service: 'stock',
    transport: memoryTransport({ broker }),
    bindings: [side],
    sends: [sagaReplies('orders')],
  })
  const relays = [
    createRelay({ outbox, publisher: orders, idlePollMs: 20 }),
    createRelay({ outbox: stockOutbox, publisher: stock, idlePollMs: 20 }),
  ]
  return { binders: [orders, stock], relays }
}
