/**
 * Determines whose code is running: an instance's, a server's, or that of the process itself. It uses an `AsyncLocalStorage`, so
 * that services need no option for a clock, and a handler's own `setTimeout` ends with its instance. The replacements that code
 * of a world sees are in `process/`.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { restartIds } from 'concordat/extension'
import type { Stream } from './draws.ts'

/** Environment of running code: what its process answers. */
export interface Surroundings {
  /** Milliseconds since the history began. */
  elapsedMs(): number
  /** @returns a function that cancels it */
  setTimer(delayMs: number, callback: () => void): () => void
  readonly stream: Stream
  /** Name of the instance; `undefined` for code of a server. */
  readonly name?: string | undefined
  /** Its code requested something outside of this process. `kind`: Node's name for it. */
  onOutside?(kind: string): void
}

/** Start time of each history. */
export const BEGINS_AT: number = Date.UTC(2026, 0, 1)

const storage = new AsyncLocalStorage<Surroundings>()

export function runIn<T>(surroundings: Surroundings, work: () => T): T {
  return storage.run(surroundings, work)
}

/** Environment of the running code; `undefined` if it is not part of a world. */
export function surroundingsHere(): Surroundings | undefined {
  return storage.getStore()
}

/** Resolves after everything that is ready has run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Ids are drawn in batches: a new history starts with a new batch. */
export function forgetDrawn(): void {
  restartIds()
}
