/** A caller whose texts are always new would fill the memory. */
const MOST_KEPT = 1_000

/** Returns a function that keeps what `make` made of a text, unless it is `undefined`. At a thousand texts it forgets all. */
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
