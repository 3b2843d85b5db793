/** How deep a value of JSON is nested. Whoever walks through one by recursion asks first: a stranger's may be without end. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((part) => isDeeperThan(part, levels - 1))
}
