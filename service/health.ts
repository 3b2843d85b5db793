/** Health of a service, combined from its parts. */

/** Fields of every part's health. */
export interface PartHealth {
  readonly status: string
  readonly detail?: string | undefined
  readonly error?: string | undefined
}

/** The combined health of all parts. */
export interface ServiceHealth {
  /** `down`: a part required for readiness is not up. `degraded`: another one is down, or a part is degraded. */
  readonly status: 'up' | 'degraded' | 'down'
  /** False: only restarting the process helps. For a liveness probe. Unavailable servers do not change it. */
  readonly live: boolean
  /** True: the instance can take traffic. For a readiness probe. */
  readonly ready: boolean
  /** Each part's own health: `binder`, `relay`, `coordinator`, `prepared`, `locks`, `bus`, `membership`, `leads <role>`, `schedule <role>`. */
  readonly parts: Readonly<Record<string, PartHealth>>
}

export type ServiceState = 'idle' | 'starting' | 'running' | 'closing' | 'closed'

/** `idle`: locks that were never used, a leadership that has not begun. They are healthy. */
const HEALTHY: ReadonlySet<string> = new Set(['up', 'idle'])
/** A hanging handler, or a busy process: moving traffic elsewhere would not change it. */
const WORKING: ReadonlySet<string> = new Set([...HEALTHY, 'degraded'])

/** @param readiness parts required for readiness; missing ones do not count */
export function composeHealth(
  state: ServiceState,
  parts: Readonly<Record<string, PartHealth>>,
  readiness: readonly string[],
): ServiceHealth {
  const names = Object.keys(parts)
  const isAll = (of: readonly string[], fine: ReadonlySet<string>): boolean =>
    of.every((name) => fine.has(parts[name]?.status ?? 'down'))
  const deciding = names.filter((name) => readiness.includes(name))
  const ready = state === 'running' && isAll(deciding, WORKING)
  return {
    status: ready ? (isAll(names, HEALTHY) ? 'up' : 'degraded') : 'down',
    live: state !== 'closed',
    ready,
    parts,
  }
}

/** Returns the parts because of which it is not ready. */
export function waitingFor(
  health: ServiceHealth,
  readiness: readonly string[],
): ReadonlyArray<{ readonly name: string; readonly detail?: string | undefined }> {
  return Object.entries(health.parts)
    .filter(([name, { status }]) => readiness.includes(name) && !WORKING.has(status))
    .map(([name, { status, detail, error }]) => ({ name, detail: detail ?? error ?? status }))
}
