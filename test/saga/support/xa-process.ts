/**
 * Process with an XA participant. Argument: JSON. Handles one command, reports its steps, and pauses at the given one.
 */
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { commandHeaders, deliver } from './delivery.ts'
import { stopping } from './stopping.ts'
import { FAST, stockCommands } from './world.ts'

const { url, schema, id } = JSON.parse(process.argv[2] ?? '{}') as Record<'url' | 'schema' | 'id', string>
const forEver = new Promise<void>(() => {})
const pool = new pg.Pool({ connectionString: url, max: 4 })
const sql = stopping(pgClient(pool), {
  afterPrepare: () => {
    process.stdout.write('prepared\n')
    return forEver
  },
})
const outbox = createOutbox({ sql, service: 'stock', schema })
const binding = xaParticipant(
  stockCommands,
  { group: 'stock', sql, outbox, schema, backoff: FAST },
  async ({ n }, { tx, sagaId }) => void (await tx.query(`INSERT INTO ${schema}.effects VALUES ($1, $2)`, [sagaId, n])),
)
await deliver(binding, { sku: 'apple', n: 1 }, { ...commandHeaders(id, 'invoke'), 'saga-kind': 'tcc' })
