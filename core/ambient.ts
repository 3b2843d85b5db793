/**
 * How a context that is about to end tells the code around it what it hands out, while the context is still there.
 *
 * A handler returns `locks.using(...)`: when its caller gets the value, the lease is over and nothing around the running
 * code says any more under which lease the value was made. So `using` hands its value out here first.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

const watchers = new AsyncLocalStorage<(value: unknown) => void>()

/** Runs `work`; `onValue` is called inside each context that ends within it, with the value that context hands out. */
export function watchHandedOut<T>(onValue: (value: unknown) => void, work: () => T): T {
  return watchers.run(onValue, work)
}

/** Tells whoever watches. Costs one look-up when nobody does. */
export function handOut<T>(value: T): T {
  watchers.getStore()?.(value)
  return value
}
