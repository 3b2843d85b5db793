import type { ClusterStore, LogFollower } from 'concordat/extension'

/**
 * Store whose followers learn of log entries later than the store has them, as over a network; the knob of the suites.
 */
export interface Lagging {
  readonly store: ClusterStore
  /** Delays all news for followers from now on; the store itself continues. */
  readonly hold: () => void
  /** Delivers all delayed news, in order. */
  readonly release: () => void
  /** Delays the next call of this method after the store has answered, until the test calls `go`. */
  readonly delayAnswer: (method: 'changes' | 'read') => { readonly arrived: Promise<void>; readonly go: () => void }
}

/**
 * @param always milliseconds of lag of every batch, after which it is delivered by itself
 */
export function lagging(inner: ClusterStore, always?: () => number): Lagging {
  let held = false
  const waiting: Array<() => void> = []
  const delays = new Map<string, { arrived: () => void; go: Promise<void> }>()
  const hand = (tell: () => void): void => {
    if (held) waiting.push(tell)
    else if (always === undefined) tell()
    else {
      waiting.push(tell)
      setTimeout(() => (held ? undefined : waiting.shift()?.()), always())
    }
  }
  const late = (follower: LogFollower): LogFollower => ({
    onEntries: (entries) => hand(() => follower.onEntries(entries)),
    onRollback: () => hand(() => follower.onRollback()),
  })
  const store = new Proxy(inner, {
    get: (target, name: keyof ClusterStore) => {
      if (name === 'follow') {
        const follow: ClusterStore['follow'] = (log, after, follower) => inner.follow(log, after, late(follower))
        return follow
      }
      const value = target[name]
      if (typeof value !== 'function') return value
      return async (...args: never[]) => {
        const delay = delays.get(name)
        delays.delete(name)
        let answer: unknown
        try {
          answer = await (value as (...values: never[]) => unknown).apply(target, args)
        } catch (error) {
          // The call got no answer: the next one that does waits.
          if (delay !== undefined) delays.set(name, delay)
          throw error
        }
        delay?.arrived()
        await delay?.go
        return answer
      }
    },
  })
  return {
    // `follow`, `health` and `close` of the proxy are the store's, except for delayed news.
    store: Object.create(store, { health: { value: () => inner.health() } }) as ClusterStore,
    hold: () => void (held = true),
    release: () => {
      held = false
      for (const tell of waiting.splice(0)) tell()
    },
    delayAnswer: (method) => {
      const [arrived, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      delays.set(method, { arrived: arrived.resolve, go: go.promise })
      return { arrived: arrived.promise, go: go.resolve }
    },
  }
}
