/** Tools of a process of a run: its database, its outbox, the broker. */
import { type Binder, createBinder } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Logger, SqlClient, SqlListener } from 'concordat/core'
import { pgClient, pgListener } from 'concordat/core/pg'
import type { Transport } from 'concordat/extension'
import { createOutbox, createRelay, type Outbox } from 'concordat/outbox'
import pg from 'pg'
import { postgresLog } from '../../faults/harness/postgres-log.ts'
import { kafkaOn } from '../../support/kafka-driver.ts'
import type { Place, Post, Role } from '../place.ts'
import { CALL_MS, LEASE_MS, NOTIFY_EVERY_MS, RELAY_LEASE_MS, SESSION_MS, SQL_MS } from '../settings.ts'
import { PUBLISHER_SCHEMA, poolAt } from '../tables.ts'

/** Receiver of errors and warnings; the last of them show a person what a process was doing. */
export type Told = (level: string, text: string, error: unknown) => void

/** Retry policy of the handlers: a database that is down will be back. */
export const PATIENT = Object.freeze({
  maxAttempts: 1_000_000,
  backoff: Object.freeze({ initialMs: 50, factor: 2, maxMs: 1_000 }),
})

const POOL = 10

export class Site {
  readonly post: Post
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly logger: Logger
  readonly #transport: Transport
  readonly #listener: SqlListener

  constructor(post: Post, told: Told) {
    this.post = post
    const url = databaseOf(post)
    this.sql = pgClient(poolAt(url, POOL))
    this.logger = loggerOf(told)
    const isBrokers = url === post.place.broker.url
    this.#transport = transportTo(post.place.broker, isBrokers ? this.sql : undefined)
    this.#listener = pgListener({
      connect: () => new pg.Client({ connectionString: url, query_timeout: SQL_MS, keepAlive: true }),
    })
    this.outbox = createOutbox({
      sql: this.sql,
      service: post.role,
      schema: schemaOf(post.role),
      notifyEveryMs: NOTIFY_EVERY_MS,
      transport: this.#transport,
    })
  }

  /** Connects and consumes, with a relay for the outbox. */
  async connect(more: Pick<Parameters<typeof createBinder>[0], 'bindings' | 'sends'>): Promise<Binder> {
    const { role } = this.post
    const binder = createBinder({ service: role, transport: this.#transport, logger: this.logger, ...more })
    await binder.start()
    if (role !== 'receipts') await this.#relay(binder)
    return binder
  }

  async #relay(publisher: Binder): Promise<void> {
    const relay = createRelay({
      outbox: this.outbox,
      publisher,
      instance: this.post.name,
      leaseMs: RELAY_LEASE_MS,
      backoff: { initialMs: 100, maxMs: 1_000 },
      listener: this.#listener,
      logger: this.logger,
    })
    await relay.start()
  }
}

function databaseOf({ role, place }: Post): string {
  return role === 'payments' || role === 'stock' ? place[role] : place.shop
}

function schemaOf(role: Role): string {
  return role === 'publisher' ? PUBLISHER_SCHEMA : 'concordat'
}

/** Connects as a service would, but with a short timeout for lost members of a group. */
function transportTo({ kind, url }: Place['broker'], transactionsOf: SqlClient | undefined): Transport {
  switch (kind) {
    case 'rabbitmq':
      return rabbitTransport({ url, rebalanceMs: 500 })
    case 'kafka':
      return kafkaOn(url, { replicationFactor: 1, sessionTimeoutMs: SESSION_MS, heartbeatIntervalMs: SESSION_MS / 10 })
    case 'postgres':
      return postgresLog(url, { transactionsOf, callMs: CALL_MS, leaseMs: LEASE_MS })
  }
}

function loggerOf(told: Told): Logger {
  const write = (level: string) => (fields: object, text: string) =>
    told(level, text, (fields as { err?: unknown }).err)
  return { debug: () => {}, info: () => {}, warn: write('warn'), error: write('error') }
}
