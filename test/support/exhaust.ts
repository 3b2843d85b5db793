/** Collects all items of an iterator until it has ended. */
export async function exhaust<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}
