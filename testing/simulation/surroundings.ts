/**
 * What code asks of its process without being given it: the time, timers, random numbers. While histories are played, code that
 * runs in one gets those of its world; all other code of the process gets its own, as before. Whose code runs is told by an
 * `AsyncLocalStorage`. So services need no option for a clock, and a handler's own `setTimeout` ends with its instance.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import nodeCrypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import nodeTimers from 'node:timers/promises'
import { restartIds } from '../../core/ids.ts'
import { restartRandomIds } from '../../core/random-id.ts'
import type { Stream } from './draws.ts'

/** Where code runs: what its process answers. */
export interface Surroundings {
  /** Milliseconds since the history began. */
  elapsedMs(): number
  /** @returns cancels it */
  setTimer(delayMs: number, callback: () => void): () => void
  readonly stream: Stream
}

/** When each history begins. */
export const BEGINS_AT: number = Date.UTC(2026, 0, 1)

const storage = new AsyncLocalStorage<Surroundings>()

export function runIn<T>(surroundings: Surroundings, work: () => T): T {
  return storage.run(surroundings, work)
}

/** Work of the runner that must not be part of a world, such as what it waits for in real time. */
export function runOutside<T>(work: () => T): T {
  return storage.exit(work)
}

/** All that is ready has run when this resolves. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Ids are drawn in batches: a new history begins with a new one. */
export function forgetDrawn(): void {
  restartIds()
  restartRandomIds()
}

class Timeout {
  readonly #delayMs: number
  readonly #callback: () => void
  readonly #again: boolean
  readonly #in: Surroundings
  #cancel: () => void = () => {}

  constructor(surroundings: Surroundings, delayMs: number, again: boolean, callback: () => void) {
    this.#in = surroundings
    this.#delayMs = Number.isFinite(delayMs) ? Math.max(delayMs, 1) : 1
    this.#again = again
    this.#callback = callback
    this.refresh()
  }

  refresh(): this {
    this.#cancel()
    this.#cancel = this.#in.setTimer(this.#delayMs, () => {
      if (this.#again) this.refresh()
      this.#callback()
    })
    return this
  }

  cancel(): void {
    this.#cancel()
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }
}

type Callback = (...args: unknown[]) => void
type Restore = () => void

/** Puts the world's answers in place of the process's. @returns takes them away again */
export function installSurroundings(): Restore {
  const undone = [...replacedTimers(), ...replacedTime(), ...replacedRandomness()]
  syncBuiltinESMExports()
  return () => {
    for (const undo of undone.toReversed()) undo()
    syncBuiltinESMExports()
  }
}

function replacedTimers(): Restore[] {
  const timer =
    (again: boolean, real: typeof setTimeout | typeof setInterval) =>
    (callback: Callback, delayMs = 1, ...args: unknown[]) => {
      const here = storage.getStore()
      if (here === undefined) return real(callback, delayMs, ...args)
      return new Timeout(here, delayMs, again, () => callback(...args))
    }
  const clear = (real: typeof clearTimeout) => (given: unknown) => {
    if (given instanceof Timeout) given.cancel()
    else real(given as NodeJS.Timeout)
  }
  const later = nodeTimers.setTimeout
  const sleep = <T>(delayMs = 1, value?: T, options?: { readonly signal?: AbortSignal }): Promise<T> => {
    if (storage.getStore() === undefined) return later(delayMs, value as T, options)
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => resolve(value as T), delayMs)
      const onAbort = (): void => {
        clearTimeout(timeout)
        reject(options?.signal?.reason as Error)
      }
      if (options?.signal?.aborted === true) onAbort()
      else options?.signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
  const expires = AbortSignal.timeout.bind(AbortSignal)
  const timeoutSignal = (delayMs: number): AbortSignal => {
    if (storage.getStore() === undefined) return expires(delayMs)
    const controller = new AbortController()
    setTimeout(() => controller.abort(new DOMException('The operation timed out', 'TimeoutError')), delayMs)
    return controller.signal
  }
  return [
    replace(globalThis, 'setTimeout', timer(false, setTimeout)),
    replace(globalThis, 'setInterval', timer(true, setInterval)),
    replace(globalThis, 'clearTimeout', clear(clearTimeout)),
    replace(globalThis, 'clearInterval', clear(clearInterval)),
    replace(nodeTimers, 'setTimeout', sleep),
    replace(AbortSignal, 'timeout', timeoutSignal),
  ]
}

function replacedTime(): Restore[] {
  const RealDate = Date
  const realNow = Date.now.bind(Date)
  const now = (): number => {
    const here = storage.getStore()
    return here === undefined ? realNow() : BEGINS_AT + Math.floor(here.elapsedMs())
  }
  const VirtualDate = new Proxy(RealDate, {
    construct: (target, args: [], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
    apply: () => new RealDate(now()).toString(),
    get: (target, name, receiver) => (name === 'now' ? now : (Reflect.get(target, name, receiver) as unknown)),
  })
  const realMonotonic = performance.now.bind(performance)
  const monotonic = (): number => storage.getStore()?.elapsedMs() ?? realMonotonic()
  return [replace(globalThis, 'Date', VirtualDate), replace(performance, 'now', monotonic)]
}

function replacedRandomness(): Restore[] {
  const { randomUUID, randomFillSync, randomBytes } = nodeCrypto
  const realRandom = Math.random
  const realValues = crypto.getRandomValues.bind(crypto)
  const filled = <T extends ArrayBufferView>(here: Surroundings, view: T): T => {
    here.stream.fill(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
    return view
  }
  const values = <T extends ArrayBufferView>(view: T): T => {
    const here = storage.getStore()
    return here === undefined ? (realValues(view as never) as T) : filled(here, view)
  }
  const uuid = (...args: []): string => {
    const here = storage.getStore()
    return here === undefined ? randomUUID(...args) : uuidOf(filled(here, Buffer.alloc(16)))
  }
  const fillSync = (view: NodeJS.ArrayBufferView, ...args: []): unknown => {
    const here = storage.getStore()
    return here === undefined || args.length > 0 ? randomFillSync(view, ...args) : filled(here, view)
  }
  const bytes = (size: number, callback?: (error: Error | null, bytes: Buffer) => void): Buffer | void => {
    const here = storage.getStore()
    if (here === undefined) return callback === undefined ? randomBytes(size) : randomBytes(size, callback)
    const drawn = filled(here, Buffer.alloc(size))
    if (callback === undefined) return drawn
    queueMicrotask(() => callback(null, drawn))
  }
  return [
    replace(Math, 'random', () => storage.getStore()?.stream.next() ?? realRandom()),
    replace(crypto, 'getRandomValues', values),
    replace(crypto, 'randomUUID', uuid),
    replace(nodeCrypto, 'randomUUID', uuid),
    replace(nodeCrypto, 'randomFillSync', fillSync),
    replace(nodeCrypto, 'randomBytes', bytes),
  ]
}

/** @see RFC 9562 section 5.4 */
function uuidOf(bytes: Buffer): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

function replace(target: object, name: string, value: unknown): Restore {
  const own = Object.getOwnPropertyDescriptor(target, name)
  Object.defineProperty(target, name, {
    value,
    configurable: true,
    writable: true,
    enumerable: own?.enumerable ?? true,
  })
  return () => {
    if (own === undefined) Reflect.deleteProperty(target, name)
    else Object.defineProperty(target, name, own)
  }
}
