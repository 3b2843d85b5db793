/**
 * Async contexts: which of them end with the code inside, and what outlives its caller.
 *
 * A handler returns `locks.using(...)`: when its caller gets the value, the lease is over, and nothing around the running code
 * says under which lease the value was made. So `using` hands its value out here while its context still exists.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

/** Contexts that end when a piece of code returns: the lease that it works under, the saga step that it is part of. */
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
 * For work that outlives its caller. The returned function runs work in the async context of the `lastingContext` call,
 * including the user's own storages and the span, but outside of every context that ends.
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

/** Notifies the watchers of this context. Costs one lookup without watchers. */
export function handOut<T>(value: T): T {
  watchers.getStore()?.(value)
  return value
}
