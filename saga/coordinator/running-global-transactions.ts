/** The code of global transactions that this process runs, and notifications for it. */
import type { TransactionBody } from '../definition/kinds/kind.ts'
import type { GrownStep } from '../machine/state.ts'
import type { SagaRow } from '../store/store-types.ts'
import type { LoadedSaga } from './loaded-saga.ts'

/** A body that is notified of each write of its transaction by this process. */
export interface HeldBody extends TransactionBody {
  /** Branches that this process has seen in the transaction, except refused ones. */
  branches(): readonly GrownStep[]
  seen(snapshot: LoadedSaga): void
}

/** Code here that has joined a transaction whose own code runs elsewhere. */
export interface JoinedCode {
  /** Called for each write of the transaction that this process sees. */
  seen(snapshot: LoadedSaga): void
  /** Called when this process accepts no more branches. */
  close(): void
}

export class RunningGlobalTransactions {
  readonly #byBirth = new Map<string, HeldBody>()
  readonly #joined = new Map<string, Set<JoinedCode>>()
  /** Callbacks for when no joined code remains. */
  readonly #onLeft: Array<() => void> = []

  seen(snapshot: LoadedSaga): void {
    this.get(snapshot.row)?.seen(snapshot)
    const { birth } = snapshot.row
    for (const joined of this.#joined.get(birth) ?? []) joined.seen(snapshot)
  }

  join(birth: string, code: JoinedCode): void {
    const joined = this.#joined.get(birth) ?? new Set()
    this.#joined.set(birth, joined.add(code))
  }

  leave(birth: string, code: JoinedCode): void {
    const joined = this.#joined.get(birth)
    if (joined?.delete(code) === true && joined.size === 0) this.#joined.delete(birth)
    if (this.#joined.size === 0) for (const left of this.#onLeft.splice(0)) left()
  }

  /** Resolves when no joined code remains. */
  async left(): Promise<void> {
    while (this.#joined.size > 0) await new Promise<void>((resolve) => this.#onLeft.push(resolve))
  }

  /** Closes: remaining joined code can make no more calls. */
  close(): void {
    for (const joined of this.#joined.values()) for (const code of joined) code.close()
  }

  /** True if code of this transaction, or code that has joined it, runs here. */
  isHere({ birth }: Pick<SagaRow, 'birth'>): boolean {
    return this.#byBirth.has(birth) || this.#joined.has(birth)
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
