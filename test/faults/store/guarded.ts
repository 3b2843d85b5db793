import { pgClient } from 'concordat/core/pg'
import { postgresLocks } from 'concordat/postgres'
import type { SinkClient } from '../harness/sinks.ts'
import { isPostgres, poolAt } from './open.ts'
import type { Place } from './orders.ts'

/** A process that was stopped in the middle resumes there: its time limits may not end it first. */
const PATIENCE_MS = 5_000

/**
 * The sink in the database of the locks: the lease and the write commit together. With the mistake `no-fence` there is
 * no check; with `guard-before` the check is at the beginning of the transaction, and not at its commit.
 * @param thinksMs between the first check and the commit, when a worker may be stopped too
 */
export function openGuarded({ storeUrl, broken }: Place, thinksMs = 3): readonly SinkClient[] {
  if (!isPostgres(storeUrl)) return []
  const pool = poolAt(storeUrl, 2, PATIENCE_MS)
  const sql = pgClient(pool)
  const locks = postgresLocks({ sql })
  const insert = 'INSERT INTO guarded (resource, token, holding, write) VALUES ($1, $2, $3, $4)'
  return [
    {
      name: 'guarded',
      write: (key, token, holding, write) =>
        sql.transaction(async (tx) => {
          if (broken === 'guard-before') await tx.query('SET LOCAL session_replication_role = replica')
          if (broken !== 'no-fence') await locks.guard(tx, { key, token })
          await new Promise((resolve) => setTimeout(resolve, thinksMs))
          // Last, so that its number is in the order of the commits.
          await tx.query(insert, [key, String(token), holding, write])
        }),
      close: async () => {
        await locks.close()
        await Promise.race([pool.end(), new Promise((resolve) => setTimeout(resolve, 1_000).unref())])
      },
    },
  ]
}
