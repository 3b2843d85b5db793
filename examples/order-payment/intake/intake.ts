/**
 * The intake: a source. It reads the orders file, turns valid lines into `orders.submitted`, as many at a time as
 * admission lets go, and hears of each line's end on `orders.settled`.
 *
 * It keeps nothing: killed and started again it reads the file from the top. The orders service knows the lines that it
 * has, and answers for those that have ended at once.
 */
import { type Binding, several, sink, source } from 'concordat/binder'
import {
  booksClosed,
  closeBooks,
  type Order,
  type Outcome,
  orderSettled,
  orderSubmitted,
  type Submission,
  totalCents,
  unitsBySku,
} from '../contracts.ts'
import { Admission, type Demand, type Opening } from './admission.ts'
import { readLines } from './lines.ts'
import { MAX_LINE_BYTES, parseOrderLine } from './order-line.ts'
import { Signal } from './signal.ts'

export interface InvalidLine {
  readonly line: number
  readonly error: string
}

/** What is known so far; for progress. The report counts in the tables. */
export interface IntakeCounts {
  /** Lines that are not blank. */
  readonly read: number
  readonly invalid: number
  /** Orders let go. */
  readonly admitted: number
  /** Lines with an end, invalid ones included. */
  readonly ended: number
}

export interface IntakeOptions {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly opening: Opening
  /** Orders under way at most. */
  readonly maxUnderWay: number
  /** The most orders that may have been let go so far; asked again after `poke`. @default no limit */
  readonly mayAdmit?: (() => number) | undefined
}

interface Entry extends Demand {
  readonly order: Order
}

/** Lines that wait to be admitted; reading pauses beyond. */
const LOOK_AHEAD = 500

export class Intake {
  readonly invalidLines: InvalidLine[] = []
  readonly #options: IntakeOptions
  readonly #admission: Admission<Entry>
  /** Fires whenever an order was offered, settled or may be let go. */
  readonly #changed = new Signal()
  readonly #counts = { read: 0, admitted: 0, ended: 0 }
  readonly #closed = new Map<string, number>()
  readonly #toClose: string[] = []
  #allRead = false
  #failure: Error | undefined

  constructor(options: IntakeOptions) {
    this.#options = options
    this.#admission = new Admission(options.opening)
  }

  get bindings(): readonly Binding[] {
    return [
      source(orderSubmitted, { everyMs: 0 }, async ({ signal }) => {
        const orders = await this.#nextOrders(signal)
        return orders.length === 0 ? undefined : several(orders)
      }),
      source(closeBooks, { everyMs: 50 }, () => this.#nextClosing()),
      sink(orderSettled, { group: 'intake' }, ({ line, outcome }) => this.#settle(line, outcome)),
      sink(booksClosed, { group: 'intake' }, ({ closing, term }) => {
        this.#closed.set(closing, term)
        this.#changed.fire()
      }),
    ]
  }

  get counts(): IntakeCounts {
    return { ...this.#counts, invalid: this.invalidLines.length }
  }

  /** Orders that were let go and have no end yet. */
  get underWay(): number {
    return this.#admission.underWay
  }

  /** There is more to come and nothing waits: whoever writes the orders is slow, not we. */
  get isIdle(): boolean {
    return !this.#allRead && this.#admission.waiting + this.#admission.underWay === 0
  }

  /** Looks again whether something may go. */
  poke(): void {
    this.#changed.fire()
  }

  /** Reads to the end. @throws what the stream throws */
  async read(signal: AbortSignal): Promise<void> {
    try {
      for await (const raw of readLines(this.#options.chunks, MAX_LINE_BYTES)) {
        this.#take(raw.line, raw.bytes)
        while (this.#admission.waiting >= LOOK_AHEAD) await this.#changed.next(signal)
        signal.throwIfAborted()
      }
      this.#allRead = true
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error))
      throw error
    } finally {
      this.#changed.fire()
    }
  }

  /** Resolves when every line has its end. */
  async allEnded(signal: AbortSignal): Promise<void> {
    while (!this.#allRead || this.#admission.waiting + this.#admission.underWay > 0) {
      if (this.#failure !== undefined) throw this.#failure
      await this.#changed.next(signal)
    }
  }

  /** Resolves when `admitted` orders were let go, or no more will come. */
  async admitted(count: number, signal: AbortSignal): Promise<void> {
    while (this.#counts.admitted < count && !(this.#allRead && this.#admission.waiting === 0)) {
      await this.#changed.next(signal)
    }
  }

  /** Asks the payments leader to close the books, and waits until it has. @returns the leader's term */
  async closeBooks(closing: string, signal: AbortSignal): Promise<number> {
    this.#toClose.push(closing)
    for (;;) {
      const term = this.#closed.get(closing)
      if (term !== undefined) return term
      await this.#changed.next(signal)
    }
  }

  #take(line: number, bytes: Uint8Array | undefined): void {
    const parsed = parseOrderLine(bytes)
    if (parsed.kind === 'blank') return
    this.#counts.read++
    if (parsed.kind === 'order') {
      const { order } = parsed
      const { orderId, customer } = order
      this.#admission.offer({
        line,
        order,
        orderId,
        customer,
        amountCents: totalCents(order),
        items: unitsBySku(order),
      })
    } else {
      this.#counts.ended++
      this.invalidLines.push({ line, error: parsed.error })
    }
    this.#changed.fire()
  }

  async #nextOrders(signal: AbortSignal): Promise<Submission[]> {
    while (!signal.aborted) {
      const limit = this.#options.mayAdmit?.() ?? Number.POSITIVE_INFINITY
      const room = Math.min(this.#options.maxUnderWay - this.#admission.underWay, limit - this.#counts.admitted)
      const admitted = room > 0 ? this.#admission.admit(room) : []
      if (admitted.length > 0) {
        this.#counts.admitted += admitted.length
        this.#changed.fire()
        return admitted.map(({ line, order }) => ({ line, order }))
      }
      await this.#changed.next(signal).catch(() => undefined)
    }
    return []
  }

  #nextClosing(): { readonly closing: string } | undefined {
    const closing = this.#toClose.shift()
    return closing === undefined ? undefined : { closing }
  }

  #settle(line: number, outcome: Outcome): void {
    if (!this.#admission.settle(line, outcome)) return
    this.#counts.ended++
    this.#changed.fire()
  }
}
