/**
 * Which orders may be under way together, so that the result is that of handling the file line by line.
 *
 * Two orders that want the last apple race for it; who wins would depend on timing, and on who was killed when. So an
 * order goes only once its outcome no longer depends on the orders that are under way:
 *
 *   sure:      on each sku and on the customer's balance there is enough for it beside everything under way, or
 *   hopeless:  more than there is even if everything under way came to nothing
 *
 * and never past an earlier order that waits for the same sku or customer. Lines of one order id go one after the other.
 * Everything else runs in parallel. `left` is exact: the opening amount less what confirmed orders took, so an order
 * that is alone with a sku is always sure or hopeless, and nothing waits forever.
 *
 * This is a picture for the order of things only. Whether there is stock or money is decided by the services that own
 * them, in their own transactions.
 */
import type { Outcome } from '../contracts.ts'

/** What an order asks for. */
export interface Demand {
  readonly line: number
  readonly orderId: string
  readonly customer: string
  readonly amountCents: number
  readonly items: ReadonlyArray<{ readonly sku: string; readonly quantity: number }>
}

export interface Opening {
  /** Cents per customer; unknown customers have none. */
  readonly accounts: ReadonlyMap<string, number>
  /** Units per sku; unknown skus have none. */
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
  /** What it takes when it is confirmed. */
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

  /** Gets in line. Call in file order. */
  offer(order: T): void {
    this.#waiting.push(order)
  }

  /** The orders that may go now, at most `limit`, in file order. They count as under way until `settle`. */
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

  /** @returns false when the line is not under way (its answer came twice) */
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

  /** What the order will take at most, or `undefined` while its outcome is open. */
  #claimsIfSure(order: T, blocked: ReadonlySet<Gauge | string>): readonly Claim[] | undefined {
    if (this.#busyIds.has(order.orderId) || blocked.has(order.orderId)) return undefined
    const items = this.#itemClaims(order)
    // One sku out of reach refuses the whole order before anything else is tried: it will touch nothing.
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
