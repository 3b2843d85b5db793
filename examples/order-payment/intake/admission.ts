/**
 * Decides which orders may be in flight together, so that the result equals handling the file line by line.
 *
 * Two orders for the last unit race for it, and the winner would depend on timing and on kills. Admission therefore
 * releases an order only when its outcome no longer depends on the orders in flight:
 *
 *   sure:      stock and balance cover this order in addition to all orders in flight, or
 *   hopeless:  a sku or the balance is too small even if all orders in flight fail
 *
 * An order never overtakes an earlier order that waits for the same sku or customer. Lines of one order id run one
 * after the other. Everything else runs in parallel. `left` is exact: the opening amount less what confirmed orders
 * took. An order without competitors is therefore always sure or hopeless, and no order waits forever.
 *
 * Admission controls the sequence only. The services decide on stock and money in their own transactions.
 */
import type { Outcome } from '../contracts.ts'

/** Units and cents that an order needs. */
export interface Demand {
  readonly line: number
  readonly orderId: string
  readonly customer: string
  readonly amountCents: number
  readonly items: ReadonlyArray<{ readonly sku: string; readonly quantity: number }>
}

export interface Opening {
  /** Cents per customer; 0 for unknown customers. */
  readonly accounts: ReadonlyMap<string, number>
  /** Units per sku; 0 for unknown skus. */
  readonly stock: ReadonlyMap<string, number>
}

interface Gauge {
  left: number
  underWay: number
}

interface Claim {
  readonly gauge: Gauge
  readonly want: number
}

interface UnderWay {
  readonly orderId: string
  /** Amounts that the order takes if it is confirmed. */
  readonly claims: readonly Claim[]
}

export class Admission<T extends Demand> {
  readonly #skus = new Map<string, Gauge>()
  readonly #customers = new Map<string, Gauge>()
  readonly #waiting: T[] = []
  readonly #underWay = new Map<number, UnderWay>()
  readonly #busyIds = new Set<string>()

  constructor(opening: Opening) {
    for (const [sku, left] of opening.stock) this.#skus.set(sku, { left, underWay: 0 })
    for (const [customer, left] of opening.accounts) this.#customers.set(customer, { left, underWay: 0 })
  }

  get waiting(): number {
    return this.#waiting.length
  }

  get underWay(): number {
    return this.#underWay.size
  }

  /** Adds an order to the queue. Call it in file order. */
  offer(order: T): void {
    this.#waiting.push(order)
  }

  /** Admits the orders that may run now, at most `limit`, in file order. They count as in flight until `settle`. */
  admit(limit: number): T[] {
    const admitted: T[] = []
    const blocked = new Set<Gauge | string>()
    const kept: T[] = []
    for (const order of this.#waiting) {
      const claims = admitted.length < limit ? this.#claimsIfSure(order, blocked) : undefined
      if (claims === undefined) {
        kept.push(order)
        if (admitted.length < limit) this.#block(order, blocked)
      } else {
        this.#begin(order, claims)
        admitted.push(order)
      }
    }
    this.#waiting.splice(0, this.#waiting.length, ...kept)
    return admitted
  }

  /** Records the outcome of a line. @returns false when the line is not in flight (a repeated answer) */
  settle(line: number, outcome: Outcome): boolean {
    const ended = this.#underWay.get(line)
    if (ended === undefined) return false
    this.#underWay.delete(line)
    this.#busyIds.delete(ended.orderId)
    for (const { gauge, want } of ended.claims) {
      gauge.underWay -= want
      if (outcome === 'confirmed') gauge.left -= want
    }
    return true
  }

  #begin(order: T, claims: readonly Claim[]): void {
    this.#underWay.set(order.line, { orderId: order.orderId, claims })
    this.#busyIds.add(order.orderId)
    for (const { gauge, want } of claims) gauge.underWay += want
  }

  /** Amounts that the order takes at most; `undefined` while its outcome is open. */
  #claimsIfSure(order: T, blocked: ReadonlySet<Gauge | string>): readonly Claim[] | undefined {
    if (this.#busyIds.has(order.orderId) || blocked.has(order.orderId)) return undefined
    const items = this.#itemClaims(order)
    // A single hopeless sku refuses the whole order before any other step, so the order takes nothing.
    if (items.some(isHopeless)) return []
    if (!items.every((claim) => isSure(claim, blocked))) return undefined
    const payment = this.#paymentClaim(order)
    if (isHopeless(payment)) return items
    return isSure(payment, blocked) ? [...items, payment] : undefined
  }

  #block(order: T, blocked: Set<Gauge | string>): void {
    blocked.add(order.orderId).add(this.#paymentClaim(order).gauge)
    for (const { gauge } of this.#itemClaims(order)) blocked.add(gauge)
  }

  #itemClaims(order: T): readonly Claim[] {
    return order.items.map(({ sku, quantity }) => ({ gauge: gaugeOf(this.#skus, sku), want: quantity }))
  }

  #paymentClaim(order: T): Claim {
    return { gauge: gaugeOf(this.#customers, order.customer), want: order.amountCents }
  }
}

function isHopeless({ gauge, want }: Claim): boolean {
  return want > gauge.left
}

function isSure({ gauge, want }: Claim, blocked: ReadonlySet<Gauge | string>): boolean {
  return !blocked.has(gauge) && want <= gauge.left - gauge.underWay
}

function gaugeOf(gauges: Map<string, Gauge>, key: string): Gauge {
  let gauge = gauges.get(key)
  if (gauge === undefined) gauges.set(key, (gauge = { left: 0, underWay: 0 }))
  return gauge
}
