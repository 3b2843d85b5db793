/** Services whose sagas are spread over several databases, and a participant, over the memory transport. */
import type { PGlite } from '@electric-sql/pglite'
import { type Binder, createBinder, defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay, type Relay } from 'concordat/outbox'
import { defineSaga, migrateParticipant, participant, sagaReplies } from 'concordat/saga'
import {
  type Coordinator,
  createCoordinator,
  createShardedCoordinator,
  type ShardedCoordinator,
} from 'concordat/saga/coordinator'
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { z } from 'zod'
import type { ShardedCoordinatorOptions, ShardOptions } from '../../../support/inside/saga.ts'
import { freshPglite } from '../../../support/pglite.ts'
import { FAST } from '../../support/world.ts'

const commands = defineChannel('shards.stock', { payload: z.object({ sku: z.string() }) })

export const order = defineSaga('order', { version: 1, input: z.object({ n: z.number() }) })
  .step('note', {
    transactional: true,
    invoke: async ({ tx, sagaId }) => {
      await tx.query('INSERT INTO noted (id) VALUES ($1)', [sagaId])
      return 'noted'
    },
    compensate: 'none',
  })
  .command('reserve', {
    to: commands,
    request: ({ sagaId }) => ({ sku: sagaId }),
    reply: z.object({ sku: z.string() }),
    compensate: 'none',
    timeoutMs: 2_000,
    retry: FAST,
  })

export const outer = defineSaga('outer', { version: 1, input: z.object({ n: z.number() }) }).saga('inner', {
  saga: order,
  input: ({ input }) => ({ n: input.n }),
  compensate: 'none',
})

/** Global transaction whose branch may stay uncalled. */
export const payment = defineGlobalTransaction('payment', {
  input: z.object({ n: z.number() }),
  branches: [defineBranch('pay', { to: commands })],
})

type More = { readonly shards?: ShardedCoordinatorOptions['shards'] }

export interface ShardsWorld extends AsyncDisposable {
  readonly schema: string
  readonly sql: Readonly<Record<string, SqlClient>>
  /** Participant's calls, in order. */
  readonly reserved: string[]
  /** Options of a shard for the process that has it. */
  shard(name: string): ShardOptions
  /** A process with these shards. Closed with the world. */
  process(names: readonly string[], more?: More): ShardedCoordinator
  /** The same with a binder and relays, migrated and running. */
  running(names: readonly string[], more?: More): Promise<ShardedCoordinator>
  /** A coordinator that knows nothing of shards, on the database of one. */
  single(name: string): Coordinator
  /** Databases that have a saga of this id. */
  holders(id: string, saga?: string): Promise<string[]>
  /** Every id that was started, with its shard. */
  spread(): Promise<{ readonly shard: string; readonly id: string }[]>
}

let count = 0

/** Opens shards with tables of their own. @param sql the databases by name, closed by the caller */
export async function openShards(sql: Readonly<Record<string, SqlClient>>): Promise<ShardsWorld> {
  const schema = `shards_${++count}`
  const stockSchema = `${schema}_stock`
  const broker = memoryBroker()
  const transport = () => memoryTransport({ broker })
  const reserved: string[] = []
  const closing: { close(): Promise<void> }[] = []
  const [first = ''] = Object.keys(sql)
  const stockSql = sql[first] as SqlClient
  const outboxes = new Map(
    Object.entries(sql).map(([name, client]) => [
      name,
      createOutbox({ sql: client, service: 'orders', schema, partitions: 1 }),
    ]),
  )
  for (const outbox of outboxes.values()) await outbox.migrate()
  for (const client of Object.values(sql)) {
    await client.query('DROP TABLE IF EXISTS noted')
    await client.query('CREATE TABLE noted (id text)')
  }
  await migrateParticipant(stockSql, stockSchema)
  const stockOutbox = createOutbox({ sql: stockSql, service: 'stock', schema: stockSchema, partitions: 1 })
  await stockOutbox.migrate()
  const side = { group: 'stock', sql: stockSql, outbox: stockOutbox, schema: stockSchema, backoff: FAST }
  const stock = createBinder({
    service: 'stock',
    transport: transport(),
    bindings: [
      participant(commands, side, {
        invoke: ({ sku }) => {
          reserved.push(sku)
          return { sku }
        },
        compensate: () => undefined,
      }),
    ],
    sends: [...Object.keys(sql).map((name) => sagaReplies(`orders-${name}`)), sagaReplies('orders')],
  })
  const relay = createRelay({ outbox: stockOutbox, publisher: stock, idlePollMs: 10 })
  await stock.start()
  await relay.start()

  const shard = (name: string): ShardOptions => ({
    sql: sql[name] as SqlClient,
    schema,
    outbox: outboxes.get(name) as NonNullable<ReturnType<typeof outboxes.get>>,
  })
  const process = (names: readonly string[], more: More = {}): ShardedCoordinator => {
    const shards = Object.fromEntries(names.map((name) => [name, shard(name)]))
    const options = { service: 'orders', sagas: [order, outer, payment], pollMs: 30, shards: more.shards ?? shards }
    const coordinator = createShardedCoordinator(options)
    closing.push(coordinator)
    return coordinator
  }
  const wire = async ({ bindings, channels }: Pick<Coordinator, 'bindings' | 'channels'>, names: readonly string[]) => {
    const binder: Binder = createBinder({ service: 'orders', transport: transport(), bindings, sends: channels })
    const relays: Relay[] = names.flatMap((name) => {
      const outbox = outboxes.get(name)
      return outbox === undefined ? [] : [createRelay({ outbox, publisher: binder, idlePollMs: 10 })]
    })
    await binder.start()
    await Promise.all(relays.map((each) => each.start()))
    closing.push(...relays, binder)
  }
  return {
    schema,
    sql,
    reserved,
    shard,
    process,
    running: async (names, more) => {
      const coordinator = process(names, more)
      await coordinator.migrate()
      await wire(coordinator, names)
      await coordinator.run()
      return coordinator
    },
    single: (name) => {
      const coordinator = createCoordinator({
        ...shard(name),
        service: 'orders',
        sagas: [order, outer, payment],
        pollMs: 30,
      })
      closing.push(coordinator)
      return coordinator
    },
    holders: async (id, saga = 'order') => {
      const found: string[] = []
      for (const [name, client] of Object.entries(sql)) {
        const rows = await sagasOf(client, schema)
        if (rows.some((row) => row.name === saga && row.id === id)) found.push(name)
      }
      return found
    },
    spread: async () => {
      const all: { shard: string; id: string }[] = []
      for (const [name, client] of Object.entries(sql)) {
        const orders = (await sagasOf(client, schema)).filter((row) => row.name === 'order')
        all.push(...orders.map(({ id }) => ({ shard: name, id })))
      }
      return all
    },
    [Symbol.asyncDispose]: async () => {
      for (const each of closing.toReversed()) await each.close()
      await relay.close()
      await stock.close()
    },
  }
}

/** None in a database that was not migrated. */
async function sagasOf(sql: SqlClient, schema: string): Promise<readonly { name: string; id: string }[]> {
  const there = await sql.query<{ ok: boolean }>('SELECT to_regclass($1) IS NOT NULL AS ok', [`${schema}.saga`])
  if (there.rows[0]?.ok !== true) return []
  return (await sql.query<{ name: string; id: string }>(`SELECT name, id FROM ${schema}.saga`)).rows
}

/** Databases in the process, one for each name. */
export function embeddedDatabases(names: readonly string[]): {
  readonly sql: Readonly<Record<string, SqlClient>>
  close(): Promise<void>
} {
  const databases: PGlite[] = names.map(() => freshPglite())
  return {
    sql: Object.fromEntries(names.map((name, index) => [name, pgliteClient(databases[index] as PGlite)])),
    close: async () => {
      for (const database of databases) await database.close()
    },
  }
}
