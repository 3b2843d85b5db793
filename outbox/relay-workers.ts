import type { HeldLease } from './lease.ts'
import type { PartitionRelay } from './partition-relay.ts'

/** The workers of a relay: one for each partition held, each under the lease for which it was created. */
export class RelayWorkers {
  readonly #hire: (lease: HeldLease) => PartitionRelay
  readonly #onStopped: () => void
  readonly #workers = new Map<number, PartitionRelay>()
  /** Leases that the relay gives back: no new workers are created for them. */
  #dismissed: ReadonlySet<HeldLease> = new Set()

  /**
   * @param hire returns a worker for a held partition
   * @param onStopped called when a worker has stopped on request: its partition can be released or started again
   */
  constructor(hire: (lease: HeldLease) => PartitionRelay, onStopped: () => void) {
    this.#hire = hire
    this.#onStopped = onStopped
  }

  /** The error that stops one of them, if any. */
  get error(): Error | undefined {
    return [...this.#workers.values()].find((worker) => worker.error !== undefined)?.error
  }

  /** True if no work is left on its partition, so that it can be released. */
  isFree(lease: HeldLease): boolean {
    return this.#workers.get(lease.partition)?.hasEnded !== false
  }

  /** Ends the workers of exactly these leases once they no longer wait for a broker; returns at once. */
  dismiss(leases: readonly HeldLease[]): void {
    this.#dismissed = new Set(leases)
    for (const { partition } of leases) {
      const worker = this.#workers.get(partition)
      if (worker !== undefined) this.#whenEnded(worker.leave())
    }
  }

  /** Stops the workers of lost leases; with `mayHire`, creates one for each lease that is held and stays. */
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

  /** @param partitions all of them, if it is not known which have new rows */
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
