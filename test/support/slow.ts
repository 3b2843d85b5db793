import type { EncodedMessage } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import type { Transport } from 'concordat/extension'
import type { PublishUntil } from './inside/binder.ts'

/** Milliseconds before and after each call, the same for the same seed. */
export function pauses(seed: number, mostMs: number): () => Promise<void> {
  let state = seed
  return async () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    const ms = (state / 2 ** 32) * mostMs
    if (ms < mostMs / 4) return
    await new Promise((resolve) => setTimeout(resolve, ms))
  }
}

/**
 * Transport that delays every call, as a network does: before the broker gets it, and before the caller gets the
 * answer. Publishes keep their order, as the contract requires.
 */
export function slowTransport(inner: Transport, pause: () => Promise<void>): Transport {
  let line: Promise<unknown> = Promise.resolve()
  const around = async <T>(work: () => Promise<T>): Promise<T> => {
    await pause()
    const result = await work()
    await pause()
    return result
  }
  const own: Partial<Transport> = {
    provision: (destinations) => around(() => inner.provision(destinations)),
    subscribe: (spec, receiver) =>
      around(async () => {
        const subscription = await inner.subscribe(spec, receiver)
        const close = subscription.close.bind(subscription)
        return Object.assign(subscription, { close: () => around(close) })
      }),
    publish: async (messages: readonly EncodedMessage[], until?: PublishUntil) => {
      const before = line.then(pause)
      line = before
      await before
      const outcomes = await inner.publish(messages, until)
      await pause()
      return outcomes
    },
    ...(inner.lag !== undefined && { lag: (place) => around(() => inner.lag?.(place) ?? Promise.resolve(0)) }),
    ...(inner.hasPlace !== undefined && {
      hasPlace: (place) => around(() => inner.hasPlace?.(place) ?? Promise.resolve(false)),
    }),
    close: () => around(() => inner.close()),
  }
  return new Proxy(inner, {
    get: (target, name) => {
      const value: unknown = Reflect.get(Object.hasOwn(own, name) ? own : target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
    // Methods that a case wraps are those of this transport, not of the inner one.
    set: (_, name, value) => Reflect.set(own, name, value),
  })
}

/** The same of a database: each statement and each commit. */
export function slowSql(inner: SqlClient, pause: () => Promise<void>): SqlClient {
  return {
    ...inner,
    query: async (text, parameters) => {
      await pause()
      const result = await inner.query<never>(text, parameters)
      await pause()
      return result
    },
    transaction: (work) =>
      inner.transaction(async (tx) => {
        const result = await work({
          ...tx,
          // The commit is a step of its own.
          last: undefined,
          query: async (text, parameters) => {
            await pause()
            return tx.query(text, parameters)
          },
        })
        await pause()
        return result
      }),
  }
}
