import type { SqlClient } from 'concordat/core'
import { createOutbox, createRelay, type Outbox, type Relay } from 'concordat/outbox'
import type { OutboxOptions, RelayOptions } from '../../support/inside/outbox.ts'
import { insist, persistent } from '../../support/refusals.ts'
import { uniqueName } from './messages.ts'
import { FakePublisher } from './publisher.ts'

export interface OutboxSetup {
  readonly sql: SqlClient
  readonly outbox: Outbox
  readonly publisher: FakePublisher
  /** A relay that is closed at the end of the setup's scope. */
  relay(options?: Partial<RelayOptions>): Relay
  [Symbol.asyncDispose](): Promise<void>
}

/** An outbox in a schema of its own and a publisher; pauses are short. */
export async function setupOutboxOn(sql: SqlClient, options: Partial<OutboxOptions> = {}): Promise<OutboxSetup> {
  const outbox = createOutbox({ sql, service: 'orders', schema: uniqueName('outbox'), partitions: 2, ...options })
  await insist(() => outbox.migrate())
  const publisher = new FakePublisher()
  const relays: Relay[] = []
  return {
    // The test's own calls. They repeat only calls that `support/refusals.ts` refuses.
    sql: persistent(sql, ['query', 'transaction']),
    outbox: persistent(outbox, ['stats', 'parked', 'retry', 'drop']),
    publisher,
    relay(more = {}) {
      const relay = createRelay({ outbox, publisher, idlePollMs: 20, backoff: { initialMs: 1, maxMs: 1 }, ...more })
      relays.push(relay)
      return persistent(relay, ['start'])
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(relays.map((relay) => relay.close()))
    },
  }
}
