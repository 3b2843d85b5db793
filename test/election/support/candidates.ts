import { createElection, type Election } from 'concordat/election'
import { memoryLockServer, memoryLocks } from 'concordat/memory'
import type { ElectionOptions } from '../../support/inside/election.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'
import { gate } from '../../support/until.ts'

export const open: Election[] = []
const holding: Array<() => void> = []
/** Releases and closes everything; for `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const letGo of holding.splice(0)) letGo()
  await drain()
  await Promise.all(open.splice(0).map((election) => election.close()))
}

export const TTL_MS = 1_000

/** Candidates on one memory store and one clock; their transitions in order. */
export function setup() {
  const clock = new FakeClock()
  const server = memoryLockServer({ clock })
  const log: string[] = []
  const candidate = (instance: string, options: Partial<ElectionOptions> = {}): Election => {
    const locks = options.locks ?? memoryLocks({ server, clock })
    const coolDownMs = 100
    const election = createElection({ role: 'r', instance, ttlMs: TTL_MS, clock, coolDownMs, ...options, locks })
    election.subscribe((event) => log.push(`${instance} ${event.type === 'revoked' ? event.reason : event.type}`))
    open.push(election)
    election.start()
    return election
  }
  return { clock, server, log, candidate }
}

/** A handler that returns when it is let go; `afterEach` sees to that. */
export function held(): { readonly opened: Promise<void>; open: () => void } {
  const made = gate()
  const letGo = (): void => made.open()
  holding.push(letGo)
  return { opened: made.opened, open: letGo }
}
