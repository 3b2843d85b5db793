/** A relay process that writes each message to a table of its own, and at the nth publish is killed before it can delete. */
import type { EncodedMessage } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { createOutbox, createRelay } from 'concordat/outbox'
import pg from 'pg'

const [url, schema, dieAt] = process.argv.slice(2) as [string, string, string]
const pool = new pg.Pool({ connectionString: url, max: 4 })
const outbox = createOutbox({ sql: pgClient(pool), service: 'orders', schema, partitions: 2 })
let calls = 0
const relay = createRelay({
  outbox,
  leaseMs: 1_000,
  batchSize: 20,
  publisher: {
    async publish(messages: readonly EncodedMessage[]) {
      await pool.query(`INSERT INTO "${schema}".broker (id, key) SELECT * FROM unnest($1::text[], $2::text[])`, [
        messages.map((message) => message.id),
        messages.map((message) => message.key),
      ])
      if (++calls === Number(dieAt)) process.kill(process.pid, 'SIGKILL')
      return messages.map(() => undefined)
    },
  },
})
await relay.start()
