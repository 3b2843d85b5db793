/**
 * Whose code runs: an instance's, a server's, or that of the process itself. Told by an `AsyncLocalStorage`, so services need no option for a
 * clock, and a handler's own `setTimeout` ends with its instance. What the process answers to code of a world is in `process/`.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { restartIds } from 'concordat/extension'
import type { Stream } from './draws.ts'

/** Where code runs: what its process answers. */
export interface Surroundings {
  /** Milliseconds since the history began. */
  elapsedMs(): number
  /** @returns cancels it */
  setTimer(delayMs: number, callback: () => void): () => void
  readonly stream: Stream
  /** Name of the instance; `undefined`: code of a server. */
  readonly name?: string | undefined
  /** Its code asked for something outside of this process. `kind`: as Node calls it. */
  onOutside?(kind: string): void
}

/** When each history begins. */
export const BEGINS_AT: number = Date.UTC(2026, 0, 1)

const storage = new AsyncLocalStorage<Surroundings>()

export function runIn<T>(surroundings: Surroundings, work: () => T): T {
  return storage.run(surroundings, work)
}

/** Surroundings of the running code; `undefined`: it is not part of a world. */
export function surroundingsHere(): Surroundings | undefined {
  return storage.getStore()
}

/** All that is ready has run when this resolves. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Ids are drawn in batches: a new history begins with a new one. */
export function forgetDrawn(): void {
  restartIds()
}
