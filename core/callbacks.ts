/**
 * Answers of functions that users hand in and nobody awaits. An `async` one returns a promise, and one that rejects
 * would end the process, since nobody else listens to it.
 */
import { hasMethods, wrongKind } from './options.ts'

/** The value as it is; if it is a promise, its rejection is nobody's. */
export function notAwaited<T>(value: T): T {
  if (hasMethods(value, ['then'])) Promise.resolve(value).catch(() => {})
  return value
}

/**
 * The value, of a function that has to answer at once.
 * @param what it is: `retryable of "orders.stock"`
 * @throws TypeError when it is a promise
 */
export function synchronous<T>(what: string, value: T, expected: string): T {
  if (!hasMethods(value, ['then'])) return value
  notAwaited(value)
  throw wrongKind(what, value, `${expected}, and not a promise of it: no async function`)
}

/**
 * Calls a listener of a user at once and waits for nothing. What it throws goes to `onError`, and so does what an
 * `async` one rejects with: nobody else would hear of it, and it would end the process.
 */
export function tell<Event>(
  listener: (event: Event) => unknown,
  event: Event,
  onError: (error: unknown) => void,
): void {
  const call = async (): Promise<unknown> => listener(event)
  call().catch(onError)
}
