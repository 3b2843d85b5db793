/**
 * Wraps a method of a library's class: once for each copy of the library, however many copies of this package request it.
 * @param mark of this patch, from `Symbol.for`
 * @param find returns the prototype; throws if the library is missing or has different internals: it then stays unchanged
 * @returns whether it is patched
 */
export function patchMethod<Class extends object, Name extends keyof Class>(
  mark: symbol,
  find: () => Class,
  name: Name,
  patch: (usual: Class[Name]) => Class[Name] & object,
): boolean {
  try {
    const prototype = find()
    const usual = prototype[name]
    if (typeof usual !== 'function') return false
    if (!Object.hasOwn(usual, mark)) prototype[name] = Object.assign(patch(usual), { [mark]: true })
    return true
  } catch {
    return false
  }
}
