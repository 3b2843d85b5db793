import type { LockHolder, LockInfo } from '../lock.ts'
import { majorityOf, mostFrequent } from './explain-lost-vote.ts'
import { lockDelayOf, ownerOf } from './value.ts'

/** A server's view of a lock. */
interface View {
  readonly value: string
  readonly token: string
  readonly sinceAt: number
  readonly freesInMs: number
  /** Value and ticket. */
  readonly waiters: readonly (readonly [string, number])[]
}

/**
 * Combines the replies of a majority of the servers (`INSPECT`). Silent servers may have voted for the claim that most others
 * report, so it counts as the holder unless that cannot be a majority.
 * @param size number of servers
 */
export function lockInfo(key: string, answers: readonly unknown[], size: number): LockInfo | undefined {
  const views = answers.map(view)
  const value = mostFrequent(views.flatMap((one) => (one.value === '' ? [] : [one.value])))
  const voters = views.filter((one) => one.value === value && value !== '')
  const held = voters.length > 0 && voters.length + size - views.length >= majorityOf(size)
  const holders = held ? [holder(value, voters, size)] : []
  const tickets = new Map(views.flatMap(({ waiters }) => waiters))
  const waiters = [...tickets]
    .filter(([waiter]) => !held || waiter !== value)
    .toSorted((a, b) => a[1] - b[1])
    .map(([waiter]) => ({ owner: ownerOf(waiter), mode: 'exclusive' as const }))
  return holders.length + waiters.length === 0 ? undefined : { key, holders, waiters }
}

function holder(value: string, voters: readonly View[], size: number): LockHolder {
  // Free if fewer than a majority still have the vote.
  const longest = voters.map(({ freesInMs }) => freesInMs).toSorted((a, b) => b - a)
  const freesInMs = Math.max(0, longest[Math.min(majorityOf(size), longest.length) - 1] ?? 0)
  return {
    owner: ownerOf(value),
    token: Number(mostFrequent(voters.map(({ token }) => token))),
    mode: 'exclusive',
    sinceAt: Math.max(...voters.map(({ sinceAt }) => sinceAt)),
    expiresInMs: Math.max(0, freesInMs - lockDelayOf(value)),
    freesInMs,
  }
}

function view(answer: unknown): View {
  const [value, token, since, frees, ...line] = answer as [string, string, string, number, ...string[]]
  const waiters: [string, number][] = []
  for (let i = 0; i < line.length; i += 2) waiters.push([line[i] ?? '', Number(line[i + 1])])
  return { value, token, sinceAt: Number(since), freesInMs: frees, waiters }
}
