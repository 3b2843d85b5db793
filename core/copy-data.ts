/** From this depth on, data is checked for cycles. */
const DEEP = 100

/**
 * Copies arrays, plain objects, bytes and dates at any depth; everything else, such as class instances, is shared with the
 * original. For values that user code receives more than once and may modify.
 */
export function copyData<T>(value: T): T {
  return copied(value, 0, undefined) as T
}

function copied(value: unknown, depth: number, copies: Map<object, unknown> | undefined): unknown {
  if (typeof value !== 'object' || value === null) return value
  const known = copies?.get(value)
  if (known !== undefined) return known
  const seen = copies ?? (depth > DEEP ? new Map<object, unknown>() : undefined)
  if (Array.isArray(value)) {
    const list: unknown[] = []
    seen?.set(value, list)
    for (const each of value) list.push(copied(each, depth + 1, seen))
    return list
  }
  if (value instanceof Date) return new Date(value)
  if (value instanceof Uint8Array) return Uint8Array.prototype.slice.call(value)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return value
  const copy: Record<string, unknown> = prototype === null ? Object.create(null) : {}
  seen?.set(value, copy)
  for (const [name, each] of Object.entries(value)) {
    // An own property of this name is data, as created by JSON.parse.
    if (name === '__proto__')
      Object.defineProperty(copy, name, {
        value: copied(each, depth + 1, seen),
        enumerable: true,
        writable: true,
        configurable: true,
      })
    else copy[name] = copied(each, depth + 1, seen)
  }
  return copy
}
