/**
 * Server that refuses a call now and then, as one does that restarts, fails over or has no connection left: the call
 * was not executed, and the caller gets the real adapter's error. The knob of the conformance suites beside the delays
 * of `slow.ts` and the lost answers of `lossy-answers.ts`.
 */

import type { EncodedMessage } from 'concordat/binder'
import { TransportError } from 'concordat/binder'
import { ClusterError } from 'concordat/cluster'
import type { SqlClient, SqlExecutor } from 'concordat/core'
import type { ClusterStore, LockStore, Transport } from 'concordat/extension'
import { LockError } from 'concordat/locks'
import type { PublishUntil } from './inside/binder.ts'

/** Generator that decides which calls are refused. */
export interface Refusals {
  /** Whether to refuse this call. Never twice in a row, so that an immediate repetition succeeds. */
  next(): boolean
  /** Number of refused calls. */
  readonly count: number
}

/** Refuses about one call in `oneIn`, the same ones for the same seed and order of calls. */
export function refusals(seed: number, oneIn: number): Refusals {
  let state = seed
  let count = 0
  let wasRefused = false
  return {
    next: () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      wasRefused = !wasRefused && state / 2 ** 32 < 1 / oneIn
      if (wasRefused) count++
      return wasRefused
    },
    get count() {
      return count
    },
  }
}

/** Proxy that refuses these methods of the target now and then, and passes everything else on. */
function refusing<T extends object>(
  target: T,
  refused: Refusals,
  methods: readonly (keyof T & string)[],
  error: (method: string) => Error,
): T {
  return new Proxy(target, {
    get: (_, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (!methods.some((method) => method === name)) return value.bind(target)
      return async (...args: unknown[]): Promise<unknown> => {
        if (refused.next()) throw error(String(name))
        return value.apply(target, args) as unknown
      }
    },
  })
}

/**
 * Transport that refuses calls. A refused `publish` never rejects, so each of its messages has the error as its
 * outcome. The first\n`provision` is not refused: a broker that is down when a binder starts says nothing about
 * destinations that do not fit.
 */
export function refusingTransport(inner: Transport, refused: Refusals): Transport {
  const error = (method: string, destination?: string): TransportError =>
    new TransportError({
      transport: inner.name,
      kind: 'unavailable',
      message: `${method} refused (by the knob)`,
      ...(destination !== undefined && { destination }),
    })
  let isProvisioned = false
  const own: Partial<Transport> = {
    publish: async (messages: readonly EncodedMessage[], until?: PublishUntil) =>
      refused.next()
        ? messages.map(({ destination }) => error('publish', destination))
        : inner.publish(messages, until),
    provision: async (destinations) => {
      if (isProvisioned && refused.next()) throw error('provision')
      isProvisioned = true
      await inner.provision(destinations)
    },
  }
  const others = refusing(inner, refused, ['subscribe', 'lag'], error)
  return new Proxy(others, {
    get: (target, name) => Reflect.get(Object.hasOwn(own, name) ? own : target, name),
    set: (_, name, value) => Reflect.set(own, name, value),
  })
}

export function refusingLockStore(inner: LockStore, refused: Refusals): LockStore {
  const methods = ['acquire', 'extend', 'release', 'abandon', 'listen', 'inspect'] as const
  const error = (method: string): Error =>
    new LockError('locks.store_unavailable', {
      store: inner.name,
      outcome: 'not_done',
      detail: `${method} refused (by the knob)`,
    })
  const store = refusing(inner, refused, methods, error)
  const { operator } = inner
  if ('missing' in operator) return store
  const asked = refusing(operator, refused, ['list', 'forceRelease', 'audit'], error)
  return new Proxy(store, {
    get: (target, name) => (name === 'operator' ? asked : Reflect.get(target, name, target)),
  })
}

export function refusingClusterStore(inner: ClusterStore, refused: Refusals): ClusterStore {
  const methods = [
    'read',
    'commit',
    'members',
    'join',
    'beat',
    'sweep',
    'describe',
    'leave',
    'restore',
    'changes',
  ] as const
  const error = (method: string): Error =>
    new ClusterError('cluster.store_unavailable', {
      store: inner.name,
      outcome: 'not_done',
      detail: `${method} refused (by the knob)`,
    })
  return refusing(inner, refused, methods, error)
}

/** No connection for a statement or a transaction; and within one the connection is ended, which rolls it back. */
export function refusingSql(inner: SqlClient, refused: Refusals): SqlClient {
  const fail = (code: string, message: string): never => {
    throw Object.assign(new Error(message), { code, severity: 'FATAL' })
  }
  const connected = (): void => {
    if (refused.next()) fail('53300', 'sorry, too many clients already (by the knob)')
  }
  const query: SqlExecutor['query'] = async (text, parameters) => {
    connected()
    return inner.query<never>(text, parameters)
  }
  return {
    ...inner,
    query,
    transaction: async (work) => {
      connected()
      return inner.transaction((tx) => {
        const within: SqlExecutor['query'] = async (text, parameters) => {
          if (refused.next()) fail('57P01', 'terminating connection (by the knob)')
          return tx.query<never>(text, parameters)
        }
        return work({ ...tx, last: undefined, query: within })
      })
    },
  }
}

/** The caller of these methods: asks again when it was refused, as the error says that it may. */
export function persistent<T extends object>(target: T, methods: readonly (keyof T & string)[]): T {
  return new Proxy(target, {
    get: (_, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (!methods.some((method) => method === name)) return value.bind(target)
      return (...args: unknown[]) => insist(() => value.apply(target, args) as unknown)
    },
  })
}

/**
 * Far more than any caller needs: a migration is twenty statements in one transaction, and six in seven of its tries meet
 * a refusal. A case that is over must not ask forever.
 */
const MOST_TRIES = 1_000

/** Asks again while it was refused; an answer of refused outcomes (`publish`) counts as one. */
export async function insist<T>(call: () => T | Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      const answer = await call()
      const isRefused = Array.isArray(answer) && answer.length > 0 && answer.every(wasRefused)
      if (!isRefused || tries === MOST_TRIES) return answer
    } catch (error) {
      if (!wasRefused(error) || tries === MOST_TRIES) throw error
    }
  }
}

/** Ignores a refusal, for work that is repeated without its caller. */
export function unlessRefused(error: unknown): void {
  if (!wasRefused(error)) throw error
}

/** Whether a server refused the call: it was not executed, and can be repeated. */
function wasRefused(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof AggregateError) return error.errors.every(wasRefused)
  return error.message.includes('(by the knob)') || wasRefused(error.cause)
}
