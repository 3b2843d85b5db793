/** A process that coordinates on several databases. Argument: JSON. Says on its standard output, a line each, what happens. */
import { pgClient } from 'concordat/core/pg'
import pg from 'pg'
import { moves } from './moves.ts'

interface Job {
  readonly urls: Readonly<Record<string, string>>
  readonly instance: string
  readonly leaseMs: number
  /** Sagas to start, and to hang in. */
  readonly start: readonly string[]
}

const job = JSON.parse(process.argv[2] ?? '{}') as Job
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const sql = Object.fromEntries(
  Object.entries(job.urls).map(([name, url]) => {
    const pool = new pg.Pool({ connectionString: url, max: 12 })
    return [name, pgClient(pool)]
  }),
)
const { coordinator, move } = moves({
  ...job,
  sql,
  inSlow: async (id) => {
    say(`in-slow ${id}`)
    await new Promise(() => setInterval(() => {}, 1_000))
  },
})
await coordinator.run()
for (const id of job.start) await coordinator.start(move, { id, input: { n: 1 } })
say('started')
