import { describe, expect, test } from 'vitest'
import type { Report } from '../../../examples/order-payment/run/report.ts'
import { folder } from './support/command.ts'
import { type Expected, expected } from './support/model.ts'
import { orderFiles } from './support/orders.ts'

const LIMIT_MS = 120_000

function expectModel(report: Report, model: Expected): void {
  expect(report.orders).toEqual(model.orders)
  expect(report.ledger).toMatchObject({ chargedCents: model.chargedCents, refundedCents: 0, balanced: true })
  expect(report.stock).toMatchObject({ shipped: model.shipped, balanced: true })
  expect(report.receipts).toBe(model.orders.confirmed)
  expect(report.invalidLines).toHaveLength(model.orders.invalid)
}

describe('embedded, as a process', { timeout: LIMIT_MS }, () => {
  test('100 orders that compete for stock and money end as if handled one by one', async () => {
    await using place = await folder()
    const files = orderFiles({ seed: 5, lines: 100, customers: 8, skus: 4, plenty: 0.6 })
    const { code, report, stdout } = await place.report(await place.orders(files))
    expectModel(report, expected(files))
    expect(report).toMatchObject({ leaderTerms: 1, restarts: 0 })
    expect(stdout).toContain('balanced')
    expect(stdout).toContain('examples/order-payment/README.md')
    expect(code).toBe(0)
  })

  test('Windows line ends, a byte order mark, blank lines and a missing last line end change nothing', async () => {
    await using place = await folder()
    const files = orderFiles({ seed: 6, lines: 30 })
    const windows = `\uFEFF${files.orders.trimEnd().replaceAll('\n', '\r\n\r\n  \r\n')}`
    const flags = await place.orders({ ...files, orders: windows })
    const { code, report } = await place.report(flags)
    expectModel(report, expected(files))
    expect(code).toBe(0)
  })

  test('an empty file is an empty run that succeeds', async () => {
    await using place = await folder()
    const { code, report } = await place.report(await place.orders({ orders: '', accounts: { a: 7 }, stock: { b: 3 } }))
    expect(report).toMatchObject({
      orders: { read: 0, invalid: 0, confirmed: 0, stuck: 0 },
      ledger: { openingCents: 7, closingCents: 7, balanced: true },
      stock: { opening: 3, shipped: 0, closing: 3, balanced: true },
      invalidLines: [],
      receipts: 0,
    })
    expect(code).toBe(0)
  })

  test('a line over 64 KiB and other invalid input is reported by number, and the run continues', async () => {
    await using place = await folder()
    const good = (id: string): string =>
      JSON.stringify({
        orderId: id,
        customer: 'c',
        card: 'tok_ok',
        lines: [{ sku: 's', quantity: 1, unitPriceCents: 1 }],
      })
    const long = good('x').replace('}', `,"note":"${'n'.repeat(66_000)}"}`)
    const orders = [good('o-1'), long, '\0\0', good('o-2').replace(':1', ':-1'), good('o-3')].join('\n')
    const { code, report } = await place.report(await place.orders({ orders, accounts: { c: 9 }, stock: { s: 9 } }))
    expect(report.orders).toMatchObject({ read: 5, invalid: 3, confirmed: 2 })
    expect(report.invalidLines).toEqual([
      { line: 2, error: 'longer than 64 KiB (65536 bytes)' },
      { line: 3, error: expect.stringMatching(/^not JSON/) as string },
      { line: 4, error: 'lines[0].quantity: expected a positive integer, got -1' },
    ])
    expect(code).toBe(0)
  })

  test('orders may come through standard input, and any name is a name like any other', async () => {
    await using place = await folder()
    const names = [
      '__proto__',
      'toString',
      '漢'.repeat(200),
      '😀',
      'a b',
      '../..',
      ':',
      '{tag}',
      `'; DROP TABLE x; --`,
      '"\\',
    ]
    const order = (i: number): string => {
      const [orderId, customer, sku] = [names[i], names[(i + 1) % names.length], names[(i + 2) % names.length]]
      return JSON.stringify({ orderId, customer, card: 'tok_ok', lines: [{ sku, quantity: 1, unitPriceCents: 1 }] })
    }
    const amounts = `{${names.map((name) => `${JSON.stringify(name)}: 5`).join()}}`
    const flags = ['--accounts', await place.file('a.json', amounts), '--stock', await place.file('s.json', amounts)]
    const orders = [...names.keys()].map(order).join('\n')
    const { code, report } = await place.report(['--orders', '-', ...flags], orders)
    expectModel(report, expected({ orders, accounts: JSON.parse(amounts), stock: JSON.parse(amounts) }))
    expect(report.orders).toMatchObject({ read: names.length, confirmed: names.length })
    expect(code).toBe(0)
  })
})

test('the bundled orders hold every outcome', { timeout: LIMIT_MS }, async () => {
  await using place = await folder()
  const { code, report } = await place.report([])
  expect(report.orders.read).toBe(500)
  const { stuck, ...others } = report.orders
  expect(stuck).toBe(0)
  expect(Object.values(others).every((count) => count > 0)).toBe(true)
  expect(code).toBe(0)
})
