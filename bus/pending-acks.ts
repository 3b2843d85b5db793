import { type Address, type AddressPattern, matches } from './address.ts'
import type { Acknowledgement, FailedAck } from './bus.ts'
import type { Outcome } from './outcome.ts'

/** Waits for the answers to published events. */
export class PendingAcks {
  /** Several for one id when a publisher has used the same id twice. */
  readonly #waits = new Set<AckWait>()

  get size(): number {
    return this.#waits.size
  }

  /** Called before the event is sent, so that a fast answer finds its wait. */
  open(id: string, to: AddressPattern, expected: readonly string[]): AckWait {
    const wait = new AckWait(id, to, expected, () => this.#waits.delete(wait))
    this.#waits.add(wait)
    return wait
  }

  /** @returns false when no wait expects it (any longer) */
  answer(id: string, from: Address, sender: string, outcome: Outcome): boolean {
    let isWanted = false
    for (const wait of this.#waits) if (wait.id === id && wait.answer(from, sender, outcome)) isWanted = true
    return isWanted
  }

  closeAll(error: Error): void {
    for (const wait of Array.from(this.#waits)) wait.fail(error)
  }
}

/** Limit against invented instances: any client with write access to the broker can send answers. */
const MAX_ANSWERS = 10_000

export class AckWait {
  readonly id: string
  readonly #to: AddressPattern
  readonly #expected: ReadonlySet<string>
  /** Instances whose answer is awaited. Those that leave count as missing, and are no longer awaited. */
  readonly #open: Set<string>
  readonly #answers = new Map<string, Outcome>()
  readonly #done = Promise.withResolvers<void>()
  readonly #onEnd: () => void
  #isOver = false

  constructor(id: string, to: AddressPattern, expected: readonly string[], onEnd: () => void) {
    this.id = id
    this.#to = to
    this.#expected = new Set(expected)
    this.#open = new Set(expected)
    this.#onEnd = onEnd
    this.#done.promise.catch(() => {})
    if (this.#open.size === 0) this.#done.resolve()
  }

  /** Resolves when all possible answers have arrived. @throws the argument of `fail` */
  get complete(): Promise<void> {
    return this.#done.promise
  }

  /** The wait is over. */
  get isOver(): boolean {
    return this.#isOver
  }

  get hasOpen(): boolean {
    return this.#open.size > 0
  }

  /** The first answer of each instance counts, even of an unknown one. */
  answer(from: Address, sender: string, outcome: Outcome): boolean {
    if (!matches(this.#to, from) || this.#answers.has(sender) || this.#answers.size >= MAX_ANSWERS) return false
    this.#answers.set(sender, outcome)
    this.#close(sender)
    return true
  }

  /** Removes all other instances from the wait, because they will not answer. */
  keepOnly(live: ReadonlySet<string>): void {
    for (const name of Array.from(this.#open)) if (!live.has(name)) this.#close(name)
  }

  fail(error: Error): void {
    this.#done.reject(error)
    this.#isOver = true
    this.#onEnd()
  }

  end(): Acknowledgement {
    this.#isOver = true
    this.#onEnd()
    const failed: FailedAck[] = []
    const by: Record<'acked' | 'ignored', string[]> = { acked: [], ignored: [] }
    for (const [address, { status, error }] of this.#answers) {
      if (status === 'failed') failed.push({ address, error: error ?? { name: 'Error', message: '' } })
      else by[status].push(address)
    }
    const missing = [...this.#expected].filter((name) => !this.#answers.has(name))
    return { id: this.id, acked: by.acked.sort(), failed, ignored: by.ignored.sort(), missing: missing.sort() }
  }

  #close(name: string): void {
    if (this.#open.delete(name) && this.#open.size === 0) this.#done.resolve()
  }
}
