/**
 * Puts a method of ours around one of a library's class: once for each copy of the library, however many copies of this package ask.
 * @param mark of this mend, from `Symbol.for`
 * @param find the prototype; throws where the library is not there, or looks otherwise inside: then it stays as it is
 * @returns whether it is mended
 */
export function mendMethod<Class extends object, Name extends keyof Class>(
  mark: symbol,
  find: () => Class,
  name: Name,
  mend: (usual: Class[Name]) => Class[Name] & object,
): boolean {
  try {
    const prototype = find()
    const usual = prototype[name]
    if (typeof usual !== 'function') return false
    if (!Object.hasOwn(usual, mark)) prototype[name] = Object.assign(mend(usual), { [mark]: true })
    return true
  } catch {
    return false
  }
}
