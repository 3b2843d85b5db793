/**
 * Process that uses locks by orders over IPC, for tests that kill or stop it. Prints nothing. Messages in: { do:
 * 'acquire' | 'release' | 'write' | 'wait' | 'lead' | 'close', ... }. Messages out: { did, at, ... }.
 */
import { pgClient } from 'concordat/core/pg'
import { createElection } from 'concordat/election'
import { createFence, type Lease } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import pg from 'pg'
import type { LeaseOptions } from '../inside/locks.ts'

export type Order =
  | ({ readonly do: 'acquire'; readonly key: string } & LeaseOptions)
  | { readonly do: 'release' }
  | { readonly do: 'write'; readonly text: string; readonly check: boolean }
  | { readonly do: 'lead'; readonly role: string; readonly ttlMs: number }
  | { readonly do: 'close' }

export interface Report {
  readonly did: 'ready' | 'acquired' | 'released' | 'wrote' | 'failed' | 'granted' | 'revoked' | 'closed'
  /** Wall clock, epoch ms with fractions: one machine, so comparable. */
  readonly at: number
  readonly token?: number
  readonly code?: string
}

const [redisUrl = '', prefix = '', heartbeatMs = '1000', postgresUrl = '', schema = ''] = process.argv.slice(2)
const locks = redisLocks({ url: redisUrl, prefix, heartbeatMs: Number(heartbeatMs) })
const pool = postgresUrl === '' ? undefined : new pg.Pool({ connectionString: postgresUrl, max: 1 })
const now = (): number => performance.timeOrigin + performance.now()
const report = (fields: Omit<Report, 'at'>): void => void process.send?.({ ...fields, at: now() })
let lease: Lease | undefined
let election: ReturnType<typeof createElection> | undefined

async function write(text: string, check: boolean): Promise<void> {
  if (pool === undefined || lease === undefined) throw new Error('no lease, or no database')
  const { token } = lease
  if (check) lease.assertValid()
  const sql = pgClient(pool)
  const fence = createFence({ sql, schema })
  await sql.transaction(async (tx) => {
    await fence.check(tx, 'ledger', token)
    await tx.query(`INSERT INTO "${schema}".ledger (token, text) VALUES ($1::bigint, $2)`, [String(token), text])
  })
  report({ did: 'wrote', token })
}

function lead(role: string, ttlMs: number): void {
  election = createElection({
    locks,
    role,
    ttlMs,
    onGranted: (term) => report({ did: 'granted', token: term.term }),
    onRevoked: (term) => report({ did: 'revoked', token: term.term }),
  })
  election.start()
}

function acquire(order: Extract<Order, { do: 'acquire' }>): Promise<Lease> {
  const { key, ttlMs, mode, permits, lockDelayMs } = order
  return locks.acquire(key, { ttlMs, mode, permits, lockDelayMs, waitMs: Number.POSITIVE_INFINITY })
}

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'acquire':
      lease = await acquire(order)
      return report({ did: 'acquired', token: lease.token })
    case 'release':
      await lease?.release()
      return report({ did: 'released' })
    case 'write':
      return write(order.text, order.check)
    case 'lead':
      return lead(order.role, order.ttlMs)
    case 'close':
      await election?.close()
      await locks.close()
      await pool?.end()
      report({ did: 'closed' })
      return process.disconnect()
    default:
      order satisfies never
  }
}

process.on('message', (order: Order) => {
  obey(order).catch((error: unknown) => report({ did: 'failed', code: String((error as { code?: string }).code) }))
})
report({ did: 'ready' })
