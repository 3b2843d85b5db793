/**
 * A process with candidacies, for tests that end it: by a signal it has wired (`closeOnSignals`), or otherwise.
 * Arguments: JSON of `LeaderOptions`. Reports over IPC, prints nothing.
 */
import { pgClient } from 'concordat/core/pg'
import { createElection, createSchedule, type Term } from 'concordat/election'
import { createFence } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { closeOnSignals } from 'concordat/service'
import pg from 'pg'

export interface LeaderOptions {
  readonly redisUrl: string
  readonly prefix: string
  readonly roles: readonly string[]
  readonly ttlMs: number
  /** Roles whose `onGranted` blocks the event loop for this long. */
  readonly blockMs?: number
  /** Runs the job `sweep` this often, with its record in this schema. */
  readonly job?: { readonly everyMs: number; readonly postgresUrl: string; readonly schema: string }
}

export interface LeaderReport {
  readonly did: 'ready' | 'granted' | 'revoked' | 'closed' | 'woke'
  readonly role?: string
  readonly term?: number
  /** Wall clock, epoch ms with fractions. */
  readonly at: number
  readonly detail?: string
}

const options = JSON.parse(process.argv[2] ?? '{}') as LeaderOptions
const { redisUrl, prefix, roles, ttlMs, blockMs, job } = options
const report = (fields: Omit<LeaderReport, 'at'>): void =>
  void process.send?.({ ...fields, at: performance.timeOrigin + performance.now() })

const locks = redisLocks({ url: redisUrl, prefix })
const pool = job === undefined ? undefined : new pg.Pool({ connectionString: job.postgresUrl, max: 3 })
pool?.on('error', () => {})

function block(term: Term, forMs: number): void {
  const until = performance.now() + forMs
  while (performance.now() < until);
  let detail = 'believes'
  try {
    term.assertValid()
  } catch (error) {
    detail = (error as { code: string }).code
  }
  report({ did: 'woke', role: term.role, term: term.term, detail: `${detail} signal:${term.signal.aborted}` })
}

const elections = roles.map((role) =>
  createElection({
    locks,
    role,
    ttlMs,
    onGranted: (term) => {
      report({ did: 'granted', role, term: term.term })
      if (blockMs !== undefined) block(term, blockMs)
    },
    onRevoked: (term, reason) => report({ did: 'revoked', role, term: term.term, detail: reason }),
  }),
)

if (job !== undefined && pool !== undefined) {
  const sql = pgClient(pool)
  const { schema, everyMs } = job
  const fence = createFence({ sql, schema })
  const [election] = elections
  if (election === undefined) throw new Error('a job needs a role')
  createSchedule({
    election,
    jobs: [
      {
        name: 'sweep',
        everyMs,
        work: ({ term, scheduledAt }) =>
          sql.transaction(async (tx) => {
            await fence.check(tx, 'sweep', term.term)
            const { rowCount } = await tx.query(
              `INSERT INTO "${schema}".job AS j (name, done_at) VALUES ('sweep', $1::float8)
               ON CONFLICT (name) DO UPDATE SET done_at = EXCLUDED.done_at WHERE j.done_at < EXCLUDED.done_at`,
              [scheduledAt],
            )
            if (rowCount === 0) return
            const values = [scheduledAt, String(term.term), process.pid]
            await tx.query(`INSERT INTO "${schema}".swept (at, term, pid) VALUES ($1::float8, $2::bigint, $3)`, values)
          }),
      },
    ],
    lastTick: async () => {
      const { rows } = await sql.query<{ done_at: number }>(`SELECT done_at FROM "${schema}".job`)
      return rows[0]?.done_at
    },
  }).start()
}

closeOnSignals({
  elections,
  after: [locks, () => pool?.end(), () => report({ did: 'closed' }), () => process.disconnect()],
})
for (const election of elections) election.start()
report({ did: 'ready' })
