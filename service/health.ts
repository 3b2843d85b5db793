/** Health of a service, combined from its parts. */

/** Fields of every part's health. */
export interface PartHealth {
  readonly status: string
  readonly detail?: string | undefined
  readonly error?: string | undefined
}

/** The health of all parts, put together. */
export interface ServiceHealth {
  /** `down`: a part that decides on readiness is not up. `degraded`: another one is down, or a part is degraded. */
  readonly status: 'up' | 'degraded' | 'down'
  /** False: the process can only be replaced. For a liveness probe. Servers that are away do not change it. */
  readonly live: boolean
  /** True: give it traffic. For a readiness probe. */
  readonly ready: boolean
  /** Each part's own health: `binder`, `relay`, `coordinator`, `prepared`, `locks`, `bus`, `membership`, `leads <role>`, `schedule <role>`. */
  readonly parts: Readonly<Record<string, PartHealth>>
}

export type ServiceState = 'idle' | 'starting' | 'running' | 'closing' | 'closed'

/** `idle`: locks that were never used, a leadership that has not begun. They are healthy. */
const HEALTHY: ReadonlySet<string> = new Set(['up', 'idle'])
/** A handler that hangs, or a process that computes: traffic elsewhere would not change it. */
const WORKING: ReadonlySet<string> = new Set([...HEALTHY, 'degraded'])

/** @param readiness the parts that decide; those that are not there count for nothing */
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

/** The parts that keep it from being ready. */
export function waitingFor(
  health: ServiceHealth,
  readiness: readonly string[],
): ReadonlyArray<{ readonly name: string; readonly detail?: string | undefined }> {
  return Object.entries(health.parts)
    .filter(([name, { status }]) => readiness.includes(name) && !WORKING.has(status))
    .map(([name, { status, detail, error }]) => ({ name, detail: detail ?? error ?? status }))
}
