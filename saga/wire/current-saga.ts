/** The saga of the running code, for logs and outgoing headers. Kept across `await`. */
import { endingContext } from '../../core/async-contexts.ts'
import type { Operation } from '../machine/operation.ts'

/** The saga call that the running code belongs to, as returned by `currentSaga`. */
export interface SagaScope {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  readonly operation: Operation
  readonly key: string
}

const storage = endingContext<SagaScope>()

/** Returns the saga step that the calling code is part of, in a coordinator or a participant; `undefined` outside of one. */
export function currentSaga(): SagaScope | undefined {
  return storage.getStore()
}

/** Runs `work` so that `currentSaga()` returns `scope` in it, across `await`. */
export function inSaga<T>(scope: SagaScope, work: () => T): T {
  return storage.run(scope, work)
}
