/**
 * Contexts: which of them end with the code inside, and what outlives its caller.
 *
 * How a context that is about to end tells the code around it what it hands out, while the context is still there.
 *
 * A handler returns `locks.using(...)`: when its caller gets the value, the lease is over and nothing around the running
 * code says any more under which lease the value was made. So `using` hands its value out here first.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

/** What is true of a piece of code only until it returns: the lease it works under, the saga step it is part of. */
const ending: AsyncLocalStorage<unknown>[] = []

/**
 * A context that ends with the code inside it: a lock, a term, a step. What was begun in there and goes on afterwards, a
 * consumer, a watch, a job, leaves it by `lastingContext`. For constants of modules: it is never given up.
 */
export function endingContext<T>(): AsyncLocalStorage<T> {
  const storage = new AsyncLocalStorage<T>()
  ending.push(storage as AsyncLocalStorage<unknown>)
  return storage
}

/**
 * For whatever outlives its caller. The returned function runs work in the context of whoever called `lastingContext`,
 * the user's own storages and the span among it, but outside of every context that ends.
 */
export function lastingContext(): <T>(work: () => T) => T {
  const take = ending.reduce<() => <T>(work: () => T) => T>(
    (inner, storage) => () => storage.run(undefined, inner),
    () => AsyncLocalStorage.snapshot(),
  )
  return take()
}

const watchers = endingContext<(value: unknown) => void>()

/** Runs `work`; `onValue` is called inside each context that ends within it, with the value that context hands out. */
export function watchHandedOut<T>(onValue: (value: unknown) => void, work: () => T): T {
  return watchers.run(onValue, work)
}

/** Tells whoever watches. Costs one look-up when nobody does. */
export function handOut<T>(value: T): T {
  watchers.getStore()?.(value)
  return value
}
