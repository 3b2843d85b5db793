import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The three input files of a run, in a folder that is removed when this is disposed of. */
export interface OrderFiles extends AsyncDisposable {
  readonly folder: string
  readonly flags: readonly string[]
}

const CUSTOMERS = 500
const SKUS = 200
/** Share of orders paid with a card that the bank declines, one in this number; their reservations are undone. */
const DECLINED_EVERY = 20
const PLENTY = 1_000_000_000

/** The same orders each time: one or two lines each, as many customers and skus that orders seldom wait for each other. */
export async function writeOrders(count: number): Promise<OrderFiles> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-bench-'))
  const file = (name: string): string => join(folder, name)
  await writeFile(
    file('orders.jsonl'),
    Array.from({ length: count }, (_, i) => `${JSON.stringify(order(i))}\n`).join(''),
  )
  await writeFile(file('accounts.json'), JSON.stringify(opening('c', CUSTOMERS)))
  await writeFile(file('stock.json'), JSON.stringify(opening('sku', SKUS)))
  return {
    folder,
    flags: ['--orders', file('orders.jsonl'), '--accounts', file('accounts.json'), '--stock', file('stock.json')],
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

function order(i: number): object {
  const line = (n: number): object => ({ sku: `sku-${(n * 7) % SKUS}`, quantity: 1 + (n % 3), unitPriceCents: 250 })
  return {
    orderId: `o-${i}`,
    customer: `c-${(i * 13) % CUSTOMERS}`,
    card: i % DECLINED_EVERY === DECLINED_EVERY - 1 ? 'tok_declined' : 'tok_ok',
    lines: i % 2 === 0 ? [line(i)] : [line(i), line(i + 1)],
  }
}

function opening(prefix: string, count: number): Readonly<Record<string, number>> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}-${i}`, PLENTY]))
}
