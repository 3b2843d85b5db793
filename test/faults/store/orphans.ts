import type { Redis } from 'ioredis'

/** Lifetime of a tombstone: a straggling request is refused for a minute. */
const TOMBSTONE_MS = 61_000

/** Notes about waiters expire three heartbeats later: of the slowest waiter here. */
const NOTES_MS = 3 * 4_000

/**
 * Entries that should have been deleted when the lock has no holder and no waiter: all except the fencing counter and the
 * audit, which stay, and tombstones and notes, which expire.
 */
export async function orphansIn(client: Redis, prefix: string): Promise<string[]> {
  const orphans: string[] = []
  for (const key of await client.keys(`${prefix}*`)) {
    if (key.endsWith(':fence') || key.endsWith(':audit')) continue
    const expiresInMs = await client.pttl(key)
    const mostMs = key.includes(':dead:') ? TOMBSTONE_MS : key.endsWith(':notes') ? NOTES_MS : 0
    const isGone = expiresInMs === -2
    if (!isGone && (expiresInMs < 0 || expiresInMs > mostMs)) orphans.push(`${key} (expires in ${expiresInMs} ms)`)
  }
  return orphans
}
