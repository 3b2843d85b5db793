/**
 * Handles results of user functions that are not awaited. An `async` function returns a promise; without a listener its rejection
 * would end the process.
 */
import { isThenable, wrongKind } from './option-checks.ts'

/** Returns the value unchanged; ignores the rejection of a promise. */
export function notAwaited<T>(value: T): T {
  if (isThenable(value)) Promise.resolve(value).catch(() => {})
  return value
}

/**
 * The result of a function that must be synchronous.
 * @param what the source of the value: `retryable of "orders.stock"`
 * @throws TypeError if it is a promise
 */
export function synchronous<T>(what: string, value: T, expected: string): T {
  if (!isThenable(value)) return value
  void notAwaited(value)
  throw wrongKind(what, value, `${expected}, and not a promise of it: no async function`)
}

/**
 * Calls a user's listener without waiting for it. Its exception, or the rejection of an `async` listener, which would otherwise
 * end the process, is passed to `onError`.
 */
export function tell<Event>(
  listener: (event: Event) => unknown,
  event: Event,
  onError: (error: unknown) => void,
): void {
  const call = async (): Promise<unknown> => listener(event)
  call().catch(onError)
}
