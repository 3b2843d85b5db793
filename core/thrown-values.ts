/**
 * Reads values thrown by user functions, which may be anything: their getters may throw, and so may the traps of a proxy. No
 * clean-up may depend on reading them, so every part uses this file to read errors that it did not create.
 */

const SAYS = 'an error that cannot be read'
/** Fields that are read from errors. Not `stack`: V8 renders it when it is read. */
const FIELDS = ['name', 'message', 'code', 'cause', 'retryable', 'refusal', 'constructor'] as const

/** Reads a property of a thrown value; `undefined` if it is missing or cannot be read. Never throws. */
export function fieldOf(thrown: unknown, name: string): unknown {
  if ((typeof thrown !== 'object' && typeof thrown !== 'function') || thrown === null) return undefined
  try {
    return (thrown as unknown as Readonly<Record<string, unknown>>)[name]
  } catch {
    return undefined
  }
}

/** Reads the message of a thrown error; `undefined` for another value or message. Never throws. */
export function messageOf(thrown: unknown): string | undefined {
  try {
    const message = thrown instanceof Error ? thrown.message : undefined
    return typeof message === 'string' ? message : undefined
  } catch {
    return undefined
  }
}

/** Returns the thrown value; if it cannot be read, an `Error` that says so. Never throws. */
export function readable(thrown: unknown): unknown {
  return isReadable(thrown, FIELDS) ? thrown : new Error(SAYS)
}

/** Same as `readable`, for the `catch` of a promise. */
export function throwReadable(thrown: unknown): never {
  throw readable(thrown)
}

/** Same as `readable`, for a log whose serializer also reads the stack and the causes. */
export function readableInLog(thrown: unknown): unknown {
  let each = readable(thrown)
  if (each !== thrown) return each
  for (let depth = 0; depth < MOST_CAUSES && typeof each === 'object' && each !== null; depth++) {
    if (!isReadable(each, ['stack', ...FIELDS])) return new Error((depth > 0 && messageOf(thrown)) || SAYS)
    each = fieldOf(each, 'cause')
  }
  return thrown
}

const MOST_CAUSES = 10

function isReadable(thrown: unknown, fields: readonly string[]): boolean {
  const isFunction = typeof thrown === 'function'
  if ((typeof thrown !== 'object' && !isFunction) || thrown === null) return true
  try {
    // A proxy may refuse each of these.
    void (thrown instanceof Error)
    for (const field of fields) void (field in thrown && (thrown as Readonly<Record<string, unknown>>)[field])
    if (isFunction) String(thrown)
    return true
  } catch {
    return false
  }
}
