/** Names of the store's keys. */

/**
 * The names of one lock, all in one slot through the hash tag. For their content see `scripts-exclusive.ts`.
 * @param lock `<prefix>{<key>}`
 */
export function lockKeys(lock: string) {
  return {
    lock,
    fence: `${lock}:fence`,
    shared: `${lock}:shared`,
    line: `${lock}:line`,
    notes: `${lock}:notes`,
    audit: `${lock}:audit`,
    dead: (value: string) => `${lock}:dead:${value}`,
  }
}

const SHARED_SUFFIX = ':shared'

/** The user's key, if this is one of the two Redis keys with its holders. */
export function heldKey(redisKey: string, prefix: string): string | undefined {
  const lock = redisKey.endsWith(`}${SHARED_SUFFIX}`) ? redisKey.slice(0, -SHARED_SUFFIX.length) : redisKey
  if (!lock.startsWith(`${prefix}{`) || !lock.endsWith('}')) return undefined
  return lock.slice(prefix.length + 1, -1)
}
