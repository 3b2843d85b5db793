/** A caller whose texts are always new would fill the memory. */
const MOST_KEPT = 1_000

/** Returns a function that caches the results of `make` by text, except `undefined`. The cache is cleared at a thousand texts. */
export function keptByText<T>(make: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    const kept = known.get(text)
    if (kept !== undefined) return kept
    const made = make(text)
    if (known.size >= MOST_KEPT) known.clear()
    known.set(text, made)
    return made
  }
}
