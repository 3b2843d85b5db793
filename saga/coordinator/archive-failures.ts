/** Ended sagas that `archive` did not take: batches leave them out, and each purge tries them alone at its end. */
import type { SagaKey } from '../store/store-types.ts'
import { cacheKey } from './loaded-saga.ts'

/** An ended saga that could not be archived, and why. */
export interface UnarchivedSaga {
  readonly saga: string
  readonly id: string
  /** The message of what `archive`, or the commit of what it wrote, failed with. */
  readonly error: string
}

interface Kept {
  readonly key: SagaKey
  readonly error: string
}

export class ArchiveFailures {
  readonly #kept = new Map<string, Kept>()

  /** Again, it is tried after all others the next time. */
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
