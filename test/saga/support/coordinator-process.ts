/** A coordinator as a process. Argument: JSON. Says on its standard output, a line each, what happens to it. */

import { setTimeout as work } from 'node:timers/promises'
import { silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { transferCoordinator } from './transfer.ts'

interface Job {
  readonly url: string
  readonly schema: string
  readonly instance: string
  readonly leaseMs: number
  /** A saga to start, and to pause in. */
  readonly start?: { readonly saga: 'transactional' | 'plain'; readonly id: string } | undefined
  /** Stalls the whole process in that saga instead, so that no timer can report its lost lease. */
  readonly stallMs?: number | undefined
  /** Otherwise, the duration of step `slow`. */
  readonly workMs?: number | undefined
}

const job = JSON.parse(process.argv[2] ?? '{}') as Job
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const pool = new pg.Pool({ connectionString: job.url, max: 4 })
let paused = false
const { coordinator, sagas } = transferCoordinator(
  {
    schema: job.schema,
    instance: job.instance,
    sql: pgClient(pool),
    inSlow: async (sagaId) => {
      if (sagaId !== job.start?.id) {
        say('at-work')
        await work(job.workMs ?? 0)
      }
      if (sagaId !== job.start?.id || paused) return
      paused = true
      say('in-slow')
      if (job.stallMs !== undefined) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, job.stallMs)
        return
      }
      await new Promise((resolve) => process.stdin.once('data', resolve))
    },
  },
  job.leaseMs,
  { ...silentLogger, info: (_, message) => say(message), warn: (_, message) => say(message) },
)
await coordinator.run()
say('running')
if (job.start !== undefined) {
  const input = { refuse: false, kind: job.start.saga }
  await coordinator.start(sagas[job.start.saga] as typeof sagas.plain, { id: job.start.id, input })
}
process.on('SIGTERM', () => void coordinator.close().then(() => pool.end()))
