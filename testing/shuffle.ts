/**
 * Returns the items in a random order that follows from the seed. Items with the same key keep their order; items without a key
 * do not.
 */
export function shuffled<Item>(items: readonly Item[], keyOf: (item: Item) => string | null, seed: number): Item[] {
  const lines = new Map<unknown, Item[]>()
  for (const item of items) {
    const key = keyOf(item) ?? Symbol('no key')
    const line = lines.get(key)
    if (line === undefined) lines.set(key, [item])
    else line.push(item)
  }
  const left = [...lines.values()].map((line) => line.toReversed())
  const random = randomOf(seed)
  const result: Item[] = []
  while (left.length > 0) {
    const index = Math.floor(random() * left.length)
    const line = left[index] as Item[]
    result.push(line.pop() as Item)
    if (line.length === 0) left.splice(index, 1)
  }
  return result
}

/** 0 <= x < 1. @see https://gist.github.com/tommyettinger/46a874533244883189143505d203312c "mulberry32" */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
