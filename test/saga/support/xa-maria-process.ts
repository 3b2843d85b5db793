/**
 * Process with an XA participant on MariaDB. Argument: JSON. Handles one command, reports its steps, and pauses at the
 * given one.
 */
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { commandHeaders, deliver } from './delivery.ts'
import { attachMaria } from './maria.ts'
import { stoppingResource } from './mortal-resource.ts'
import { FAST, stockCommands } from './world.ts'

type Stop = 'in the handler' | 'prepared'
const given = process.argv[2] ?? '{}'
const { url, mariaUrl, schema, id, at } = JSON.parse(given) as Record<'url' | 'mariaUrl' | 'schema' | 'id', string> & {
  readonly at: Stop
}

async function stop(where: Stop): Promise<void> {
  if (at !== where) return
  process.stdout.write(`${where}\n`)
  await new Promise<void>(() => {})
}

const sql = pgClient(new pg.Pool({ connectionString: url, max: 4 }))
const resource = stoppingResource(attachMaria(mariaUrl).resource, { afterPrepare: () => stop('prepared') })
const outbox = createOutbox({ sql, service: 'stock', schema })
const binding = xaParticipant(
  stockCommands,
  { group: 'stock', sql, outbox, schema, resource, backoff: FAST },
  async ({ n }, { tx, sagaId }) => {
    await tx.query('INSERT INTO effects VALUES (?, ?)', [sagaId, n])
    await stop('in the handler')
  },
)
await deliver(binding, { sku: 'apple', n: 1 }, { ...commandHeaders(id, 'invoke'), 'saga-kind': 'tcc' })
