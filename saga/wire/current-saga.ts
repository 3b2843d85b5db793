/** Where the running code is in a saga, for logs and outgoing headers. Survives any `await`. */
import { endingContext } from '../../core/async-contexts.ts'
import type { Operation } from '../machine/operation.ts'

/** The call of which saga the running code is in: what `currentSaga` returns. */
export interface SagaScope {
  readonly saga: string
  readonly sagaId: string
  readonly step: string
  readonly operation: Operation
  readonly key: string
}

const storage = endingContext<SagaScope>()

/** The saga step that the calling code is part of, in a coordinator or a participant; `undefined` outside of one. */
export function currentSaga(): SagaScope | undefined {
  return storage.getStore()
}

/** Runs `work` so that `currentSaga()` returns `scope` in it, beyond every `await`. */
export function inSaga<T>(scope: SagaScope, work: () => T): T {
  return storage.run(scope, work)
}
