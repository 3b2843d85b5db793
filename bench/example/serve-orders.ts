/** Worker's half of the orders in one process: places the orders that the parent process asks for. */
import { readFileSync } from 'node:fs'
import { endWithParent } from '../processes.ts'

export interface Order {
  readonly orderId: string
  readonly customer: string
  readonly card: string
  readonly lines: readonly { readonly sku: string; readonly quantity: number; readonly unitPriceCents: number }[]
}

export interface OrdersReport {
  readonly did: 'ready' | 'ran'
  readonly ms?: number
  readonly cpuUs?: number
}

/** @param place resolves with what has become of the order of this line: `confirmed`, `declined`, `outOfStock` */
export function serveOrders(file: string, place: (line: number, order: Order) => Promise<string>): void {
  endWithParent()
  const report = (what: OrdersReport): void => void process.send?.(what)
  const orders = readFileSync(file, 'utf8')
    .split('\n')
    .filter((text) => text !== '')
    .map((text) => JSON.parse(text) as Order)
  process.on('message', ({ from, to, atOnce }: { from: number; to: number; atOnce: number }) => {
    placeAll(orders.slice(from, to), atOnce, (n, order) => place(from + n + 1, order)).then(
      (ran) => report({ did: 'ran', ...ran }),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
  report({ did: 'ready' })
}

/** @returns what it took */
async function placeAll(
  orders: readonly Order[],
  atOnce: number,
  place: (n: number, order: Order) => Promise<string>,
): Promise<Omit<OrdersReport, 'did'>> {
  const [cpu, beganAt] = [process.cpuUsage(), performance.now()]
  const rest = orders.entries()
  const slot = async (): Promise<void> => {
    for (const [n, order] of rest) {
      const outcome = await place(n, order)
      const expected = order.card === 'tok_declined' ? 'declined' : 'confirmed'
      if (outcome !== expected) throw new Error(`order ${order.orderId} is ${outcome}, expected ${expected}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, slot))
  const { user, system } = process.cpuUsage(cpu)
  return { ms: performance.now() - beganAt, cpuUs: user + system }
}

export function totalCents({ lines }: Order): number {
  return lines.reduce((sum, { quantity, unitPriceCents }) => sum + quantity * unitPriceCents, 0)
}

export async function bank({ card }: Order): Promise<'approved' | 'declined'> {
  await new Promise((resolve) => setImmediate(resolve))
  return card === 'tok_declined' ? 'declined' : 'approved'
}
