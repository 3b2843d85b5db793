/** Three plain local steps, each with a compensation, in a process of their own. */
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { z } from 'zod'
import { serve } from '../serve.ts'

const [url = '', connections = '', concurrency = ''] = process.argv.slice(2)
const pool = new pg.Pool({ connectionString: url, max: Number(connections) })
const sql = pgClient(pool)
const three = defineSaga('three', { version: 1, input: z.object({ n: z.number() }) })
  .step('first', { invoke: ({ input }) => input.n + 1, compensate: () => {} })
  .step('second', { invoke: ({ results }) => results.first + 1, compensate: () => {} })
  .step('third', { invoke: ({ results }) => results.second + 1, compensate: () => {} })
const outbox = createOutbox({ sql, service: 'bench' })
const options = { service: 'bench', sql, outbox, sagas: [three], concurrency: Number(concurrency) }
const coordinator = createCoordinator(options)
await outbox.migrate()
await coordinator.migrate()
await coordinator.run()

serve(async (id) => {
  const run = await coordinator.start(three, { id, input: { n: 1 } })
  const outcome = await run.outcome()
  if (outcome.status !== 'completed' || outcome.results.third !== 4) throw new Error(`saga ${id}: ${outcome.status}`)
})
