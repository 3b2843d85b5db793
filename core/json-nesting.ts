/** Tells whether a JSON value is nested too deep. Call it before walking a foreign value by recursion: its depth is unbounded. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((part) => isDeeperThan(part, levels - 1))
}
