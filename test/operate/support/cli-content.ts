/** Data for trying the command line: dead letters, locks, a leader, a member, an instance on the bus, and held rows. */
import { once } from 'node:events'
import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createBus } from 'concordat/bus'
import { createMembership, createSharedState } from 'concordat/cluster'
import { ConcordatError, type SqlClient } from 'concordat/core'
import { createElection, type Term } from 'concordat/election'
import type { Outbox } from 'concordat/outbox'
import { postgresLocks, postgresStateStore, postgresTransport } from 'concordat/postgres'
import { undo, undoParticipant } from 'concordat/saga/undo'
import { z } from 'zod'
import { commandHeaders, deliver } from '../../saga/support/delivery.ts'
import { until } from '../../support/until.ts'

export const placed = defineChannel('orders.placed', { payload: z.object({ n: z.number() }) })

class WarehouseAway extends ConcordatError {
  readonly code = 'warehouse.away' as const
  readonly retryable = false as const
}

/** Three dead letters on the log in the database, o-1 to o-3; the channel has lost its reader. */
export async function withLetters(sql: SqlClient): Promise<void> {
  const stock = sink(placed, { group: 'stock', maxAttempts: 1 }, () => {
    throw new WarehouseAway('no answer from\u001b[31m the warehouse')
  })
  const binder = createBinder({ service: 'shop', transport: postgresTransport({ sql }), bindings: [stock] })
  await binder.start()
  for (const id of ['o-1', 'o-2', 'o-3']) await binder.send(placed, { n: 1 }, { id, headers: { region: 'eu' } })
  const { letters } = createOperator({ sql })
  await until(
    'they are dead letters',
    async () => (await letters.count({ channel: 'orders.placed', group: 'stock' })) === 3,
  )
  await binder.close()
}

/** Leads until the term ends. */
async function untilOver({ signal }: Term): Promise<void> {
  await once(signal, 'abort')
}

export interface Closing {
  close(): Promise<void>
}

/** sku:apple is held, settlement led, and the cluster shop has a member and a state. */
export async function withLocks(sql: SqlClient): Promise<Closing> {
  const locks = postgresLocks({ sql, owner: 'shop-1' })
  await locks.acquire('sku:apple', { ttlMs: 600_000 })
  const election = createElection({
    locks,
    role: 'settlement',
    instance: 'shop-1',
    onGranted: untilOver,
  })
  election.start()
  await until('it leads', () => election.status().state === 'leading')
  const store = postgresStateStore({ sql })
  const member = createMembership({ store, cluster: 'shop', instance: 'shop-1', service: 'orders', meta: { port: 80 } })
  await member.join()
  const prices = createSharedState<number>({ store, cluster: 'shop', name: 'prices' })
  await prices.put('pear', 3)
  return {
    close: async () => {
      for (const part of [prices, member, store, election, locks]) await part.close()
    },
  }
}

/** shop-1 is on the bus of the log in the database, and reports its log level. */
export async function withBus(sql: SqlClient, levels: string[]): Promise<Closing> {
  const bus = createBus({ service: 'shop', instance: 'shop-1', setLevel: (level) => void levels.push(level) })
  const transport = postgresTransport({ sql })
  const binder = createBinder({ service: 'shop', transport, bindings: bus.bindings, sends: bus.channels })
  await binder.start()
  await bus.start(binder)
  await bus.ready()
  return {
    close: async () => {
      await bus.close()
      await binder.close()
    },
  }
}

/** Two branches that hold a row each: order/o-1 and order/o-2. */
export async function withBranches(sql: SqlClient, outbox: Outbox): Promise<void> {
  await sql.query('CREATE TABLE account (id text PRIMARY KEY)')
  await undo.protect(sql, ['account'])
  const bank = undoParticipant(placed, { group: 'bank', sql, outbox }, async (_, { tx, sagaId }) => {
    await tx.query('INSERT INTO account VALUES ($1)', [sagaId])
  })
  for (const id of ['o-1', 'o-2'])
    await deliver(bank, { n: 1 }, { ...commandHeaders(id, 'invoke'), 'saga-kind': 'tcc' })
  await sql.query('DELETE FROM concordat.outbox')
}
