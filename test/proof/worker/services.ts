/** Work of each role. */
import { type Channel, type Inbox, type SinkBinding, sink } from 'concordat/binder'
import type { SqlExecutor, SqlTransaction } from 'concordat/core'
import { createInbox } from 'concordat/outbox'
import { participant, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import { forgetful } from '../../faults/harness/forgetful.ts'
import { LEASE_MS, POLL_MS } from '../settings.ts'
import {
  type Duty,
  type Finished,
  orderFinished,
  orderPlaced,
  orderSaga,
  type Placed,
  pay,
  paymentCommands,
  perform,
  reserve,
  stockCommands,
} from '../shop.ts'
import { RECEIPTS_SCHEMA } from '../tables.ts'
import { PATIENT, type Site } from './site.ts'

const CONCURRENCY = 8

export async function coordinate(site: Site): Promise<void> {
  const { sql, outbox, post, logger } = site
  const saga = orderSaga(post.name, outbox)
  const coordinator = createCoordinator({
    service: 'orders',
    sql,
    outbox,
    instance: `${post.name}-${process.pid}`,
    sagas: [saga],
    leaseMs: LEASE_MS,
    pollMs: POLL_MS,
    logger,
  })
  const take = async (order: Placed, tx: SqlTransaction): Promise<void> => {
    const { n, customer } = order
    await tx.query('INSERT INTO handled (n, customer, worker) VALUES ($1, $2, $3)', [n, customer, post.name])
    await coordinator.start(tx, saga, { id: `order-${n}`, input: order })
  }
  const options = { ...PATIENT, group: 'orders', concurrency: CONCURRENCY }
  const orders =
    post.broken === 'effect-without-inbox'
      ? sink(orderPlaced, options, (order) => sql.transaction((tx) => take(order, tx)))
      : sink(orderPlaced, { ...options, inbox: counted(site, 'concordat') }, (order, { tx }) => take(order, tx))
  await site.connect({ bindings: [orders, ...coordinator.bindings], sends: [...coordinator.channels, orderFinished] })
  await coordinator.run()
}

export async function participate(site: Site, role: 'payments' | 'stock'): Promise<void> {
  const binding = role === 'payments' ? serve(site, paymentCommands, pay) : serve(site, stockCommands, reserve)
  await site.connect({ bindings: [binding], sends: [sagaReplies('orders')] })
}

function serve({ post, sql, outbox }: Site, channel: Channel<Placed, Placed>, duty: Duty): SinkBinding {
  const handle =
    (operation: 'invoke' | 'compensate') =>
    (order: Placed, { tx }: { readonly tx: SqlExecutor }) =>
      perform(tx, duty, order, { operation, worker: post.name })
  const handlers = { invoke: handle('invoke'), compensate: handle('compensate') }
  // The other service declares effects elsewhere: possible effects of a dead process are undone.
  const effects = post.role === 'stock' ? ('tx' as const) : undefined
  const options = { group: post.role, concurrency: CONCURRENCY, sql, outbox }
  if (post.broken === 'no-dedupe') return forgetful(channel, { ...options, service: 'orders' }, handlers)
  return participant(channel, { ...PATIENT, ...options, effects }, handlers)
}

export async function receive(site: Site): Promise<void> {
  const { sql, post } = site
  const write = async ({ n, end }: Finished, tx: SqlTransaction): Promise<void> => {
    await tx.query('INSERT INTO receipt (n, end_as, worker) VALUES ($1, $2, $3)', [n, end, post.name])
  }
  const options = { ...PATIENT, group: 'receipts', concurrency: CONCURRENCY }
  const receipts =
    post.broken === 'effect-without-inbox'
      ? sink(orderFinished, options, (finished) => sql.transaction((tx) => write(finished, tx)))
      : sink(orderFinished, { ...options, inbox: counted(site, RECEIPTS_SCHEMA) }, (finished, { tx }) =>
          write(finished, tx),
        )
  await site.connect({ bindings: [receipts] })
}

/** Inbox that counts duplicates. A count that it cannot write at once is lost. */
function counted({ sql, post, logger }: Site, schema: string): Inbox {
  const inbox = createInbox({ sql, schema, logger })
  return {
    hasOutbox: inbox.hasOutbox,
    ready: () => inbox.ready?.() ?? Promise.resolve(),
    process: async (message, work, how) => {
      const outcome = await inbox.process(message, work, how)
      if (outcome === 'duplicate') {
        await sql
          .query('INSERT INTO duplicate (worker, id) VALUES ($1, $2)', [post.name, message.id])
          .catch((error: unknown) => logger.warn({ err: error }, 'a duplicate is not counted'))
      }
      return outcome
    },
  }
}
