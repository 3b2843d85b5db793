/** The code of global transactions that this process runs, and what it has to hear of them. */
import type { TransactionBody } from '../definition/kinds/kind.ts'
import type { GrownStep } from '../machine/state.ts'
import type { SagaRow } from '../store/row-types.ts'
import type { LoadedSaga } from './loaded-saga.ts'

/** A body that is told of each write of its transaction that this process sees. */
export interface HeldBody extends TransactionBody {
  /** The branches that this process has seen in the transaction, except refused ones. */
  branches(): readonly GrownStep[]
  seen(snapshot: LoadedSaga): void
}

/** Told of each write of a transaction that this process sees. */
export type Watcher = (snapshot: LoadedSaga) => void

export class RunningGlobalTransactions {
  readonly #byBirth = new Map<string, HeldBody>()
  /** Watchers of transactions whose own code runs elsewhere. */
  readonly #watchers = new Map<string, Set<Watcher>>()

  seen(snapshot: LoadedSaga): void {
    this.get(snapshot.row)?.seen(snapshot)
    const { birth } = snapshot.row
    for (const watcher of this.#watchers.get(birth) ?? []) watcher(snapshot)
  }

  watch(birth: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(birth) ?? new Set()
    this.#watchers.set(birth, watchers.add(watcher))
  }

  unwatch(birth: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(birth)
    if (watchers?.delete(watcher) === true && watchers.size === 0) this.#watchers.delete(birth)
  }

  get(row: Pick<SagaRow, 'birth'>): HeldBody | undefined {
    return this.#byBirth.get(row.birth)
  }

  add({ birth }: SagaRow, body: HeldBody): void {
    this.#byBirth.set(birth, body)
  }

  delete({ birth }: SagaRow): void {
    this.#byBirth.delete(birth)
  }
}
