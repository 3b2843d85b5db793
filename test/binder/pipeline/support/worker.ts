/** A process with a service that totals what is sold, on PostgreSQL alone. It is killed by the test that starts it. */
import { sink } from 'concordat/binder'
import { postgresTransport } from 'concordat/binder/postgres'
import { pgClient } from 'concordat/core/pg'
import { createService } from 'concordat/service'
import pg from 'pg'
import { totalling, totals } from './world.ts'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 6 })
pool.on('error', () => undefined)
const sql = pgClient(pool)
const kept = sink(totals, { group: 'test', inbox: true }, async ({ sku, count, cents }, { tx }) => {
  await tx.query('INSERT INTO kept VALUES ($1, $2, $3)', [sku, count, cents])
})
const service = createService({
  name: 'shop',
  sql,
  transport: postgresTransport({ sql }),
  bindings: [...totalling(true, { count: 7, everyMs: 300 }, undefined, 4).bindings, kept],
  sends: [totals],
})
await service.start()
console.log('started')
