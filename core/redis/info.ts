/** Readers for the INFO of a Redis server. */

/** `undefined`: this server does not say. */
export function infoField(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1]
}

/** The policy by which it may evict keys; `undefined` when it never does. */
export function evictionPolicy(info: string): string | undefined {
  const policy = infoField(info, 'maxmemory_policy') ?? 'noeviction'
  return policy === 'noeviction' || infoField(info, 'maxmemory') === '0' ? undefined : policy
}
