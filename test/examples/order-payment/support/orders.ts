/** Orders files of all kinds from a seed. */
export interface OrderFiles {
  readonly orders: string
  readonly accounts: Readonly<Record<string, number>>
  readonly stock: Readonly<Record<string, number>>
}

export interface OrderFilesOptions {
  readonly seed: number
  /** Lines that are not blank. */
  readonly lines: number
  readonly customers?: number | undefined
  readonly skus?: number | undefined
  /** Approximate share of the requested goods that is in stock; below 1 orders compete. */
  readonly plenty?: number | undefined
}

interface Draft {
  readonly orderId: string
  readonly customer: string
  readonly card: string
  readonly lines: ReadonlyArray<{ readonly sku: string; readonly quantity: number; readonly unitPriceCents: number }>
}

const FRUIT = ['apple', 'pear', 'plum', 'quince', 'fig', 'cherry', 'lemon', 'peach', 'grape', 'melon', 'kiwi', 'mango']

export function orderFiles({ seed, lines, customers = 60, skus = 24, plenty = 1 }: OrderFilesOptions): OrderFiles {
  const random = mulberry32(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const names = Array.from(
    { length: skus },
    (_, i) => `${FRUIT[i % FRUIT.length]}${i < FRUIT.length ? '' : `-${Math.floor(i / FRUIT.length)}`}`,
  )
  const drafts: Draft[] = []
  const text: string[] = []
  const demand = { accounts: new Map<string, number>(), stock: new Map<string, number>() }
  const draft = (): Draft => {
    const count = 1 + below(3)
    return {
      orderId: `o-${drafts.length + 1}`,
      customer: `c-${1 + below(customers)}`,
      card: random() < 0.05 ? 'tok_declined' : 'tok_ok',
      lines: Array.from({ length: count }, () => ({
        sku: random() < 0.01 ? 'unobtainium' : (names[below(names.length)] ?? 'apple'),
        quantity: 1 + below(5),
        unitPriceCents: 50 + below(40) * 25,
      })),
    }
  }
  while (text.length < lines) {
    const dice = random()
    const known = drafts[below(drafts.length)]
    if (dice < 0.04) text.push(invalidLine(below(INVALID.length), drafts.length))
    else if (dice < 0.07 && known !== undefined) text.push(spelledDifferently(known))
    else if (dice < 0.09 && known !== undefined) text.push(JSON.stringify({ ...known, customer: `${known.customer}0` }))
    else {
      const next = draft()
      drafts.push(next)
      text.push(JSON.stringify(next))
      for (const { sku, quantity, unitPriceCents } of next.lines) {
        demand.stock.set(sku, (demand.stock.get(sku) ?? 0) + quantity)
        demand.accounts.set(next.customer, (demand.accounts.get(next.customer) ?? 0) + quantity * unitPriceCents)
      }
    }
  }
  demand.stock.delete('unobtainium')
  const some = (asked: number): number => Math.floor(asked * plenty * (0.8 + random() * 0.5))
  return {
    orders: `${text.join('\n')}\n`,
    accounts: Object.fromEntries(
      [...demand.accounts].toSorted(byName).map(([customer, asked]) => [customer, some(asked)]),
    ),
    stock: Object.fromEntries([...demand.stock].toSorted(byName).map(([sku, asked]) => [sku, some(asked)])),
  }
}

function byName([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : 1
}

/** The same order in other words: other key order, other white space. */
function spelledDifferently({ orderId, customer, card, lines }: Draft): string {
  return ` ${JSON.stringify({ lines, card, customer, orderId }, null, 1).replaceAll('\n', ' ')}\t`
}

const INVALID: ReadonlyArray<(n: number) => string> = [
  (n) =>
    `{"orderId":"x-${n}","customer":"c-1","card":"tok_ok","lines":[{"sku":"apple","quantity":-1,"unitPriceCents":150}]}`,
  (n) =>
    `{"orderId":"x-${n}","customer":"c-1","card":"tok_ok","lines":[{"sku":"apple","quantity":0,"unitPriceCents":150}]}`,
  (n) =>
    `{"orderId":"x-${n}","customer":"c-1","card":"tok_ok","lines":[{"sku":"apple","quantity":1.5,"unitPriceCents":150}]}`,
  (n) => `{"orderId":"x-${n}","customer":"c-1","card":"tok_ok","lines":[]}`,
  (n) =>
    `{"orderId":"x-${n}","customer":"c-1","card":"tok_ok","lines":[{"sku":"apple","quantity":9007199254740993,"unitPriceCents":1}]}`,
  (n) =>
    `{"orderId":${n},"customer":"c-1","card":"tok_ok","lines":[{"sku":"apple","quantity":1,"unitPriceCents":150}]}`,
  (n) => `{"orderId":"x-${n}","customer":"c-1"`,
  (n) => `order ${n}, please`,
  (n) =>
    `{"orderId":"x-${n}","customer":"c-1","card":"tok_ok","lines":[{"sku":"apple","quantity":"2","unitPriceCents":150}]}`,
  () => '[]',
]

function invalidLine(kind: number, n: number): string {
  return (INVALID[kind] ?? (() => 'null'))(n)
}

/** Uniform in [0, 1). */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
