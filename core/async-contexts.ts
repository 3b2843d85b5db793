/**
 * Async contexts: which of them end with the code inside, and which code outlives its caller.
 *
 * Example: a handler returns `locks.using(...)`. When its caller receives the value, the lease is over, and nothing around the
 * running code says under which lease the value was produced. So `using` hands out its value here while its context still exists.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

/** Contexts that end when a piece of code returns: the lease it works under, the saga step it is part of. */
const ending: AsyncLocalStorage<unknown>[] = []

/**
 * A context that ends with the code inside it: a lock, a term, a step. Work started inside that continues afterwards (a consumer,
 * a watch, a job) leaves the context by `lastingContext`. For module constants: it is never released.
 */
export function endingContext<T>(): AsyncLocalStorage<T> {
  const storage = new AsyncLocalStorage<T>()
  ending.push(storage as AsyncLocalStorage<unknown>)
  return storage
}

/**
 * For work that outlives its caller. The returned function runs work in the async context of the `lastingContext` call, including
 * the user's own storages and the span, but outside of all contexts that end.
 */
export function lastingContext(): <T>(work: () => T) => T {
  const take = ending.reduce<() => <T>(work: () => T) => T>(
    (inner, storage) => () => storage.run(undefined, inner),
    () => AsyncLocalStorage.snapshot(),
  )
  return take()
}

const watchers = endingContext<(value: unknown) => void>()

/** Runs `work`. `onValue` is called inside each context that ends within it, with the value that the context hands out. */
export function watchHandedOut<T>(onValue: (value: unknown) => void, work: () => T): T {
  return watchers.run(onValue, work)
}

/** Notifies the watchers of this context. Costs one lookup if there are none. */
export function handOut<T>(value: T): T {
  watchers.getStore()?.(value)
  return value
}
