/** Plays one fault on one process or server. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowMs } from '../../faults/harness/events.ts'
import { endTree } from '../../support/servers/process-tree.ts'
import type { House } from './house.ts'
import type { PlannedFault, ServerName } from './plan.ts'
import { nameOf, type Staff } from './staff.ts'

export interface Played {
  readonly victim: string
  readonly tookMs: number
  readonly happened: boolean
}

const STOPS_WITHIN_MS = 5_000

export async function playFault(fault: PlannedFault, house: House, staff: Staff, signal: AbortSignal): Promise<Played> {
  const { target } = fault.kind
  const began = nowMs()
  const [victim, happened] =
    'server' in target
      ? [target.server, await onServer(fault, target.server, house, signal)]
      : [nameOf(target.role, fault.victim), await onProcess(fault, staff, signal)]
  return { victim, tookMs: Math.round(nowMs() - began), happened }
}

async function onServer(
  { kind, ms }: PlannedFault,
  name: ServerName,
  house: House,
  signal: AbortSignal,
): Promise<boolean> {
  const server = house.server(name)
  const { pid } = server
  if (kind.action === 'freeze') {
    server.pause()
    await sleep(ms, undefined, { signal }).finally(() => server.resume())
    return server.pid === pid
  }
  // SIGQUIT is PostgreSQL's immediate stop; `kill` waits until it has seen it end, and finds nothing left to kill.
  if (kind.action === 'stop') await endTree(pid, 'SIGQUIT', STOPS_WITHIN_MS)
  await server.kill()
  await sleep(ms, undefined, { signal })
  await server.start()
  return server.pid !== pid
}

async function onProcess({ kind, victim, ms }: PlannedFault, staff: Staff, signal: AbortSignal): Promise<boolean> {
  if (!('role' in kind.target)) throw new Error(`${kind.name} is not about a process`)
  const { actor, role, number } = staff.of(kind.target.role, victim)
  const { pid } = actor
  if (kind.action === 'freeze') {
    actor.stop()
    await sleep(ms, undefined, { signal }).finally(() => actor.resume())
    return staff.of(role, number).actor.pid === pid
  }
  await actor.kill()
  await sleep(ms, undefined, { signal })
  const next = await staff.hire(role, number)
  return next.actor.pid !== pid
}
