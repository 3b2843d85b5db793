/** Ended sagas that `archive` refused: batches skip them, and each purge tries them one by one at its end. */
import type { SagaKey } from '../store/store-types.ts'
import { cacheKey } from './loaded-saga.ts'

/** An ended saga that could not be archived, and the reason. */
export interface UnarchivedSaga {
  readonly saga: string
  readonly id: string
  /** Error message of `archive`, or of the commit of its writes. */
  readonly error: string
}

interface Kept {
  readonly key: SagaKey
  readonly error: string
}

export class ArchiveFailures {
  readonly #kept = new Map<string, Kept>()

  /** Adds a saga. One that fails again moves to the end of the queue. */
  add(key: SagaKey, { message }: Error): void {
    this.forget(key)
    this.#kept.set(cacheKey(key), { key, error: message })
  }

  forget(key: SagaKey): void {
    this.#kept.delete(cacheKey(key))
  }

  keys(): readonly SagaKey[] {
    return [...this.#kept.values()].map(({ key }) => key)
  }

  list(): readonly UnarchivedSaga[] {
    return [...this.#kept.values()].map(({ key: { name, id }, error }) => ({ saga: name, id, error }))
  }
}
