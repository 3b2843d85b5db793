/** Readers for the INFO of a Redis server. */
import { SECOND } from '../clock.ts'

/** `undefined` if the server does not report it. */
export function infoField(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1]
}

/** Minimum running time of the server. `uptime_in_seconds` is a difference of whole seconds: up to one too many. */
export function minUptimeMs(info: string): number {
  const seconds = Number(infoField(info, 'uptime_in_seconds') ?? 0)
  return Math.max(0, seconds - 1) * SECOND
}

/** Its policy for evicting keys; `undefined` if it never evicts any. */
export function evictionPolicy(info: string): string | undefined {
  const policy = infoField(info, 'maxmemory_policy') ?? 'noeviction'
  return policy === 'noeviction' || infoField(info, 'maxmemory') === '0' ? undefined : policy
}
