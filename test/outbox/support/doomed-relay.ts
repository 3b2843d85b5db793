/** Relay process that sends itself a signal after its nth publish, before it can delete the published rows. */
import { pgClient } from 'concordat/core/pg'
import { createOutbox, createRelay } from 'concordat/outbox'
import pg from 'pg'
import { tablePublisher } from './table-broker.ts'

const [url, schema, nth, signal] = process.argv.slice(2) as [string, string, string, NodeJS.Signals]
const pool = new pg.Pool({ connectionString: url, max: 4 })
const outbox = createOutbox({ sql: pgClient(pool), service: 'orders', schema, partitions: 2 })
const publisher = tablePublisher(pool, schema, (calls) => {
  if (calls === Number(nth)) process.kill(process.pid, signal)
})
const relay = createRelay({ outbox, publisher, leaseMs: 1_000, batchSize: 20, idlePollMs: 20 })
await relay.start()
