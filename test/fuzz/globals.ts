/** Global objects that all programs share, to check that no target changed them. */
const SHARED: Readonly<Record<string, object>> = {
  globalThis,
  Object,
  'Object.prototype': Object.prototype,
  'Array.prototype': Array.prototype,
  'Function.prototype': Function.prototype,
  'String.prototype': String.prototype,
  'Number.prototype': Number.prototype,
  'Map.prototype': Map.prototype,
  'Set.prototype': Set.prototype,
  'Promise.prototype': Promise.prototype,
  'Error.prototype': Error.prototype,
  'RegExp.prototype': RegExp.prototype,
  'Date.prototype': Date.prototype,
  'Uint8Array.prototype': Uint8Array.prototype,
  'Buffer.prototype': Buffer.prototype,
  JSON,
  Math,
  Reflect,
}

type Snapshot = ReadonlyMap<string, ReadonlyMap<PropertyKey, PropertyDescriptor>>

/** Snapshot of the global objects. */
export function globalsNow(): Snapshot {
  return new Map(
    Object.entries(SHARED).map(([name, each]) => {
      const own = Reflect.ownKeys(each).map((key) => [key, Reflect.getOwnPropertyDescriptor(each, key)] as const)
      return [name, new Map(own.flatMap(([key, found]) => (found === undefined ? [] : [[key, found] as const])))]
    }),
  )
}

/** First difference; `undefined`: there is none. Objects that Node creates lazily are no difference. */
export function touched(before: Snapshot, now: Snapshot = globalsNow()): string | undefined {
  for (const [name, own] of now) {
    const known = before.get(name)
    for (const [key, found] of own) {
      const was = known?.get(key)
      if (was === undefined && name !== 'globalThis') return `${name} has "${String(key)}" now`
      if (was !== undefined && was.get === undefined && !Object.is(was.value, found.value))
        return `${name}.${String(key)} is another now`
    }
    for (const key of known?.keys() ?? []) if (!own.has(key)) return `${name}.${String(key)} is gone`
  }
  return undefined
}
