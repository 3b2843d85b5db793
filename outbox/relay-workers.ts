import type { HeldLease } from './lease.ts'
import type { PartitionRelay } from './partition-relay.ts'

/** The workers of a relay: one for each partition that it holds, each under the lease that it was hired for. */
export class RelayWorkers {
  readonly #hire: (lease: HeldLease) => PartitionRelay
  readonly #onStopped: () => void
  readonly #workers = new Map<number, PartitionRelay>()
  /** Leases that the relay gives back: it hires no worker for them. */
  #dismissed: ReadonlySet<HeldLease> = new Set()

  /**
   * @param hire returns a worker for a partition that is held
   * @param onStopped called when a worker that was told to stop has stopped: its partition can be given back, or begun anew
   */
  constructor(hire: (lease: HeldLease) => PartitionRelay, onStopped: () => void) {
    this.#hire = hire
    this.#onStopped = onStopped
  }

  /** Why one of them moves nothing. */
  get error(): Error | undefined {
    return [...this.#workers.values()].find((worker) => worker.error !== undefined)?.error
  }

  /** No work is left on its partition: it can be released. */
  isFree(lease: HeldLease): boolean {
    return this.#workers.get(lease.partition)?.hasEnded !== false
  }

  /** Has the workers of these leases, and of no others, end once they wait for no broker; returns at once. */
  dismiss(leases: readonly HeldLease[]): void {
    this.#dismissed = new Set(leases)
    for (const { partition } of leases) {
      const worker = this.#workers.get(partition)
      if (worker !== undefined) this.#whenEnded(worker.leave())
    }
  }

  /** None for a lease that is gone; with `mayHire` one for each that is held and stays. */
  fit(leases: readonly HeldLease[], mayHire: boolean): void {
    const held = new Map(leases.map((lease) => [lease.partition, lease]))
    for (const [partition, worker] of this.#workers) {
      if (worker.hasEnded) this.#workers.delete(partition)
      else if (held.get(partition) !== worker.lease) this.#whenEnded(worker.stop())
    }
    if (!mayHire) return
    for (const [partition, lease] of held) {
      if (this.#workers.has(partition) || this.#dismissed.has(lease)) continue
      this.#workers.set(partition, this.#hire(lease))
    }
  }

  /** @param partitions all, when it is not known which have something new */
  wake(partitions: ReadonlySet<number> | undefined): void {
    for (const [partition, worker] of this.#workers) {
      if (partitions === undefined || partitions.has(partition)) worker.wake()
    }
  }

  /** Resolves when the windows in flight are settled. */
  async stop(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()))
  }

  #whenEnded(ended: Promise<void>): void {
    void ended.then(() => this.#onStopped())
  }
}
