/** Removes a replacement. */
export type Restore = () => void

export function replace(target: object, name: PropertyKey, value: unknown): Restore {
  return put(target, name, { value, writable: true })
}

/** The same for a value that is computed each time it is read. */
export function replaceGetter(target: object, name: PropertyKey, get: (this: unknown) => unknown): Restore {
  return put(target, name, { get })
}

function put(target: object, name: PropertyKey, descriptor: PropertyDescriptor): Restore {
  const own = Object.getOwnPropertyDescriptor(target, name)
  Object.defineProperty(target, name, { ...descriptor, configurable: true, enumerable: own?.enumerable ?? true })
  return () => {
    if (own === undefined) Reflect.deleteProperty(target, name)
    else Object.defineProperty(target, name, own)
  }
}
