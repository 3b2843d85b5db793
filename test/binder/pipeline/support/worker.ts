/** Process with a service that totals sales. The test that starts it kills it. */
import { sink } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { createService } from 'concordat/service'
import pg from 'pg'
import { transportOn } from './on.ts'
import { channelsOf, totalling } from './world.ts'

const { DATABASE_URL, ON = 'postgres', BROKER_URL = '', PREFIX = '' } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 6 })
pool.on('error', () => undefined)
const sql = pgClient(pool)
const channels = channelsOf(PREFIX)
const kept = sink(channels.totals, { group: 'test', once: true }, async ({ sku, count, cents }, { tx }) => {
  await tx.query('INSERT INTO kept VALUES ($1, $2, $3)', [sku, count, cents])
})
const service = createService({
  name: `${PREFIX}shop`,
  sql,
  transport: transportOn(ON, BROKER_URL, sql),
  bindings: [...totalling(undefined, { count: 7, everyMs: 300 }, undefined, 4, channels).bindings, kept],
  sends: [channels.totals],
})
await service.start()
console.log('started')
