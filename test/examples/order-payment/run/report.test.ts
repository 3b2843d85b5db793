import { expect, test } from 'vitest'
import type { Audit } from '../../../../examples/order-payment/run/audit.ts'
import { faultsOf, makeReport } from '../../../../examples/order-payment/run/report.ts'

const AUDIT: Audit = {
  orders: { duplicate: 1, conflict: 2, confirmed: 3, declined: 4, outOfStock: 5, stuck: 0 },
  ledger: { openingCents: 100, chargedCents: 30, refundedCents: 10, closingCents: 80, balanced: true },
  stock: { opening: 10, shipped: 4, closing: 6, balanced: true },
  receipts: 3,
  leaderTerms: 1,
  faults: [],
}
const MEASURED = {
  invalidLines: [
    { line: 9, error: 'b' },
    { line: 3, error: 'a' },
  ],
  restarts: 0,
  elapsedMs: 2_000.4,
}

test('the report has exactly the promised fields, in the promised order', () => {
  expect(JSON.stringify(makeReport(AUDIT, MEASURED))).toBe(
    JSON.stringify({
      orders: { read: 17, invalid: 2, duplicate: 1, conflict: 2, confirmed: 3, declined: 4, outOfStock: 5, stuck: 0 },
      ledger: { openingCents: 100, chargedCents: 30, refundedCents: 10, closingCents: 80, balanced: true },
      stock: { opening: 10, shipped: 4, closing: 6, balanced: true },
      invalidLines: [
        { line: 3, error: 'a' },
        { line: 9, error: 'b' },
      ],
      receipts: 3,
      leaderTerms: 1,
      restarts: 0,
      elapsedMs: 2_000,
      ordersPerSecond: 7.5,
    }),
  )
})

test('a good run has no faults', () => {
  expect(faultsOf(makeReport(AUDIT, MEASURED), AUDIT)).toEqual([])
})

test.each<[string, Partial<Audit>, RegExp]>([
  ['a stuck order', { orders: { ...AUDIT.orders, stuck: 1 } }, /1 orders did not reach an end/],
  ['a receipt too many', { receipts: 4 }, /4 receipts for 3 confirmed orders/],
  ['what the audit found', { faults: ['1 orders charged more than once'] }, /charged more than once/],
])('%s is one', (_, change, fault) => {
  const audit = { ...AUDIT, ...change }
  expect(faultsOf(makeReport(audit, MEASURED), audit)).toEqual([expect.stringMatching(fault)])
})
