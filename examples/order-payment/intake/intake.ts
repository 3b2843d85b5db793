/**
 * The intake: a source that reads the orders file, sends valid lines to `orders.submitted` as admission allows, and
 * receives the outcome of each line on `orders.settled`.
 *
 * The intake stores nothing: after a kill it reads the file from the top. The orders service recognizes recorded lines,
 * and answers at once for those with an outcome.
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

/** Counts for the progress output. The report counts in the tables. */
export interface IntakeCounts {
  /** Lines that are not blank. */
  readonly read: number
  readonly invalid: number
  /** Admitted orders. */
  readonly admitted: number
  /** Lines with an outcome, including invalid lines. */
  readonly ended: number
}

export interface IntakeOptions {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly opening: Opening
  /** Maximum number of orders in flight. */
  readonly maxUnderWay: number
  /** Maximum number of admitted orders at this moment; called again after `poke`. @default no limit */
  readonly mayAdmit?: (() => number) | undefined
}

interface Entry extends Demand {
  readonly order: Order
}

/** Maximum number of lines that wait for admission; reading pauses at this limit. */
const LOOK_AHEAD = 500

export class Intake {
  readonly invalidLines: InvalidLine[] = []
  readonly #options: IntakeOptions
  readonly #admission: Admission<Entry>
  /** Fires after every change that a waiting loop must check. */
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

  /** Admitted orders without an outcome. */
  get underWay(): number {
    return this.#admission.underWay
  }

  /** True while the intake waits for input only: the file continues, and no order waits or is in flight. */
  get isIdle(): boolean {
    return !this.#allRead && this.#admission.waiting + this.#admission.underWay === 0
  }

  /** Checks `mayAdmit` again. */
  poke(): void {
    this.#changed.fire()
  }

  /** Reads the file to its end. @throws the error of the stream */
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

  /** Resolves when every line has an outcome. */
  async allEnded(signal: AbortSignal): Promise<void> {
    while (!this.#allRead || this.#admission.waiting + this.#admission.underWay > 0) {
      if (this.#failure !== undefined) throw this.#failure
      await this.#changed.next(signal)
    }
  }

  /** Resolves when `count` orders were admitted, or when no more orders can follow. */
  async admitted(count: number, signal: AbortSignal): Promise<void> {
    while (this.#counts.admitted < count && !(this.#allRead && this.#admission.waiting === 0)) {
      await this.#changed.next(signal)
    }
  }

  /** Asks the payments leader to close the books, and waits for the answer. @returns the leader's term */
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
