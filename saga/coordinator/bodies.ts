/** The code of global transactions that this process runs, and what it has to hear of them. */
import type { TransactionBody } from '../definition/kinds/kind.ts'
import type { SagaRow } from '../store/rows.ts'
import type { Snapshot } from './plan.ts'

/** A body that is told of each write of its transaction that this process sees. */
export interface HeldBody extends TransactionBody {
  seen(snapshot: Snapshot): void
}

export class Bodies {
  readonly #byBirth = new Map<string, HeldBody>()

  get(row: Pick<SagaRow, 'birth'>): HeldBody | undefined {
    return row.birth === null ? undefined : this.#byBirth.get(row.birth)
  }

  add({ birth }: SagaRow, body: HeldBody): void {
    if (birth !== null) this.#byBirth.set(birth, body)
  }

  delete({ birth }: SagaRow): void {
    if (birth !== null) this.#byBirth.delete(birth)
  }
}
