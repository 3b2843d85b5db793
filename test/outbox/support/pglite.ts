import { PGlite } from '@electric-sql/pglite'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import {
  createOutbox,
  createRelay,
  type Outbox,
  type OutboxOptions,
  type Relay,
  type RelayOptions,
} from 'concordat/outbox'
import { uniqueName } from './messages.ts'
import { FakePublisher } from './publisher.ts'

let database: PGlite | undefined

/** One embedded database per test file, made when first needed. */
export function embedded(): SqlClient {
  database ??= new PGlite()
  return pgliteClient(database)
}

export async function closeEmbedded(): Promise<void> {
  await database?.close()
  database = undefined
}

export interface OutboxSetup {
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly publisher: FakePublisher
  /** A relay that is closed at the end of the setup's scope. */
  relay(options?: Partial<RelayOptions>): Relay
  [Symbol.asyncDispose](): Promise<void>
}

/** An outbox in a schema of its own and a publisher; pauses are short. */
export async function setupOutbox(options: Partial<OutboxOptions> = {}): Promise<OutboxSetup> {
  const sql = options.sql ?? embedded()
  const outbox = createOutbox({ sql, service: 'orders', schema: uniqueName('outbox'), partitions: 2, ...options })
  await outbox.migrate()
  const publisher = new FakePublisher()
  const relays: Relay[] = []
  return {
    sql,
    outbox,
    publisher,
    relay(more = {}) {
      const relay = createRelay({ outbox, publisher, idlePollMs: 20, backoff: { initialMs: 1, maxMs: 1 }, ...more })
      relays.push(relay)
      return relay
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(relays.map((relay) => relay.close()))
    },
  }
}
