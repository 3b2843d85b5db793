/**
 * A coordinator beside sagas that wait on a timer: starts and suspends them, or starts up beside stored ones and then
 * idles.
 */
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { z } from 'zod'
import { endWithParent } from '../processes.ts'

export interface ParkedReport {
  readonly did: 'ready' | 'parked' | 'served'
}

const AT_ONCE = 256
const AN_HOUR_MS = 3_600_000

endWithParent()
const report = (what: ParkedReport): void => void process.send?.(what)
const [what = '', url = '', count = ''] = process.argv.slice(2)
const sql = pgClient(new pg.Pool({ connectionString: url, max: 10 }))
const input = z.object({ n: z.number() })
const waits = defineSaga('waits', { version: 1, input })
  .timer('an-hour', { delay: AN_HOUR_MS })
  .step('then', { invoke: () => {}, compensate: 'none' })
const quick = defineSaga('quick', { version: 1, input }).step('now', { invoke: () => {}, compensate: 'none' })
const outbox = createOutbox({ sql, service: 'bench' })
const coordinator = createCoordinator({ service: 'bench', sql, outbox, sagas: [waits, quick] })

if (what === 'park') await park()
else await serve()

async function park(): Promise<void> {
  await outbox.migrate()
  await coordinator.migrate()
  await coordinator.run()
  report({ did: 'ready' })
  let next = 0
  const slot = async (): Promise<void> => {
    for (let n = next++; n < Number(count); n = next++) await coordinator.start(waits, { id: `w-${n}`, input: { n } })
  }
  await Promise.all(Array.from({ length: AT_ONCE }, slot))
  await coordinator.close()
  report({ did: 'parked' })
}

/** Starts the coordinator the way a service does. */
async function serve(): Promise<void> {
  await outbox.migrate()
  await coordinator.migrate()
  await coordinator.run()
  report({ did: 'ready' })
  const run = await coordinator.start(quick, { id: `q-${process.pid}`, input: { n: 0 } })
  await run.outcome()
  report({ did: 'served' })
}
