/**
 * Expected result: the orders handled one by one in file order, in plain code that shares nothing with the example.
 * Knows invalid lines only as the generator makes them.
 */
import type { OrderFiles } from './orders.ts'

export interface Expected {
  readonly orders: Readonly<
    Record<'read' | 'invalid' | 'duplicate' | 'conflict' | 'confirmed' | 'declined' | 'outOfStock' | 'stuck', number>
  >
  readonly chargedCents: number
  readonly shipped: number
  /** Outcome per order id. */
  readonly outcomes: ReadonlyMap<string, string>
}

interface Order {
  readonly orderId: string
  readonly customer: string
  readonly card: string
  readonly lines: ReadonlyArray<{ readonly sku: string; readonly quantity: number; readonly unitPriceCents: number }>
}

export function expected(files: OrderFiles): Expected {
  const balances = new Map(Object.entries(files.accounts))
  const shelves = new Map(Object.entries(files.stock))
  const seen = new Map<string, string>()
  const outcomes = new Map<string, string>()
  const counts = { read: 0, invalid: 0, duplicate: 0, conflict: 0, confirmed: 0, declined: 0, outOfStock: 0, stuck: 0 }
  let chargedCents = 0
  let shipped = 0
  for (const line of files.orders.split('\n')) {
    if (line.trim() === '') continue
    counts.read++
    const order = read(line)
    if (order === undefined) {
      counts.invalid++
      continue
    }
    const content = JSON.stringify([
      order.orderId,
      order.customer,
      order.card,
      order.lines.map((l) => [l.sku, l.quantity, l.unitPriceCents]),
    ])
    const before = seen.get(order.orderId)
    if (before !== undefined) {
      counts[before === content ? 'duplicate' : 'conflict']++
      continue
    }
    seen.set(order.orderId, content)
    const outcome = decide(order, balances, shelves)
    counts[outcome]++
    outcomes.set(order.orderId, outcome)
    if (outcome !== 'confirmed') continue
    for (const { sku, quantity, unitPriceCents } of order.lines) {
      shelves.set(sku, (shelves.get(sku) ?? 0) - quantity)
      shipped += quantity
      chargedCents += quantity * unitPriceCents
    }
    balances.set(order.customer, (balances.get(order.customer) ?? 0) - total(order))
  }
  return { orders: counts, chargedCents, shipped, outcomes }
}

function decide(
  order: Order,
  balances: Map<string, number>,
  shelves: Map<string, number>,
): 'confirmed' | 'declined' | 'outOfStock' {
  const wanted = new Map<string, number>()
  for (const { sku, quantity } of order.lines) wanted.set(sku, (wanted.get(sku) ?? 0) + quantity)
  for (const [sku, quantity] of wanted) if ((shelves.get(sku) ?? 0) < quantity) return 'outOfStock'
  if (order.card === 'tok_declined') return 'declined'
  return total(order) > (balances.get(order.customer) ?? 0) ? 'declined' : 'confirmed'
}

function total(order: Order): number {
  return order.lines.reduce((sum, { quantity, unitPriceCents }) => sum + quantity * unitPriceCents, 0)
}

function read(line: string): Order | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  const order = value as Partial<Order> | null
  if (typeof order !== 'object' || order === null || typeof order.orderId !== 'string') return undefined
  if (!Array.isArray(order.lines) || order.lines.length === 0) return undefined
  const good = (order as Order).lines.every((l) => Number.isSafeInteger(l.quantity) && l.quantity > 0)
  return good ? (order as Order) : undefined
}
