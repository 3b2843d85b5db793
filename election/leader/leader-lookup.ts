import type { Locks } from '../../locks/lock.ts'
import type { LeaderInfo } from './election.ts'

/** Returns the key of the lock whose holder leads `role`. */
export function electionKey(role: string): string {
  return `election/${role}`
}

/** Returns the leader, as the store sees it; `undefined` between two terms, also while only a lock delay holds the key. */
export async function leaderOf(locks: Pick<Locks, 'inspect'>, role: string): Promise<LeaderInfo | undefined> {
  const holder = (await locks.inspect(electionKey(role)))?.holders[0]
  if (holder === undefined || holder.expiresInMs <= 0) return undefined
  return { instance: holder.owner, term: holder.token, expiresInMs: holder.expiresInMs }
}
