/** Contends for a lock, and writes behind its fence whether or not it believes in its lease. */
import { hasCode, systemClock } from 'concordat/core'
import { createFence, type Lease } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { LOCK_TTL_MS } from '../settings.ts'
import type { Site } from './site.ts'

const KEY = 'proof-ledger'
const WAIT_MS = 3_000
const WRITES = 3
const PAUSE_MS = 150

/** Contends for the lock until the process is killed. */
export async function contend({ sql, post, logger }: Site): Promise<never> {
  const locks = redisLocks({ url: post.place.redis, owner: post.name })
  const fence = createFence({ sql })
  const write = async ({ token }: Lease): Promise<void> => {
    await sql.transaction(async (tx) => {
      await fence.check(tx, KEY, token)
      await tx.query('INSERT INTO fenced (token, worker) VALUES ($1, $2)', [String(token), post.name])
    })
  }
  const turn = async (): Promise<void> => {
    const lease = await locks.acquire(KEY, { ttlMs: LOCK_TTL_MS, waitMs: WAIT_MS })
    try {
      for (let n = 0; n < WRITES; n++) {
        await write(lease)
        await systemClock.sleep(PAUSE_MS)
      }
    } finally {
      // Also when its database is down: an unreleased lease is renewed until `maxHoldMs` is over.
      await lease.release()
    }
  }
  for (;;) {
    await turn().catch((error: unknown) => {
      if (!hasCode(error, 'locks.fence_rejected')) logger.warn({ err: error }, 'a turn of the lock was cut short')
    })
    await systemClock.sleep(PAUSE_MS)
  }
}
