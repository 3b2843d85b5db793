import { describe, expect, test } from 'vitest'
import { folder, start } from './support/command.ts'
import { expected } from './support/model.ts'
import { orderFiles } from './support/orders.ts'

const LIMIT_MS = 120_000

describe('an operator pauses the payments, embedded', { timeout: LIMIT_MS }, () => {
  test('in the middle: orders that need a payment wait, and the books are those of a run without a pause', async () => {
    await using place = await folder()
    const files = orderFiles({ seed: 5, lines: 80, customers: 12, skus: 6, plenty: 0.6 })
    const args = [...(await place.orders(files)), '--pause-payments-at', '25']
    const { code, report, stderr } = await place.report(args)
    const model = expected(files)
    expect(report.orders).toEqual(model.orders)
    expect(report.ledger).toMatchObject({ chargedCents: model.chargedCents, balanced: true })
    expect(report.pausedPayments).toMatchObject({ at: 25, acknowledgedBy: ['payments'] })
    expect(report.pausedPayments?.waited).toBeGreaterThan(0)
    expect(stderr).toMatch(/^Payments paused at 25 orders: payments acknowledged in \d+ ms\.$/m)
    expect(stderr).toMatch(
      /^Payments resumed after \d+\.\d s: \d+ orders had waited; payments acknowledged in \d+ ms\.$/m,
    )
    expect(code).toBe(0)
  })

  test('before the first order, and of a single order', async () => {
    await using place = await folder()
    const files = orderFiles({ seed: 8, lines: 1 })
    const { code, report } = await place.report([...(await place.orders(files)), '--pause-payments-at', '0'])
    expect(report.orders).toEqual(expected(files).orders)
    expect(report.pausedPayments).toMatchObject({ at: 0, waited: 1, acknowledgedBy: ['payments'] })
    expect(code).toBe(0)
  })

  test.each(['1', '0'])('with no orders at all, at %s, the run ends well', async (at) => {
    await using place = await folder()
    const flags = await place.orders({ orders: '', accounts: { a: 7 }, stock: { b: 3 } })
    const { code, report } = await place.report([...flags, '--pause-payments-at', at])
    expect(report.ledger).toMatchObject({ openingCents: 7, closingCents: 7, balanced: true })
    expect(code).toBe(0)
  })

  test('at more orders than there are: nothing is paused, a line reports it, and the board shows how many each instance handled', async () => {
    await using place = await folder()
    const files = orderFiles({ seed: 9, lines: 20 })
    const { code, report, stdout, stderr } = await place.report([
      ...(await place.orders(files)),
      '--pause-payments-at',
      '900',
    ])
    expect(report.orders).toEqual(expected(files).orders)
    expect(report.pausedPayments).toBeUndefined()
    expect(stderr).toMatch(/^Payments were not paused: the run admitted \d+ orders, and the pause was set at 900\.$/m)
    const line = /^ {2}Messages handled: orders (\d+), payments (\d+), receipts (\d+), stock (\d+)\.$/m.exec(stdout)
    expect(Number(line?.[3])).toBe(report.receipts)
    expect(Number(line?.[2])).toBeGreaterThanOrEqual(report.orders.confirmed)
    expect(code).toBe(0)
  })

  test('an invalid value is reported in one line, with exit code 2', async () => {
    await using place = await folder()
    const { code, stderr, stdout } = await start(['--pause-payments-at', 'soon', '--data', place.path]).ended
    expect([code, stdout, stderr.trimEnd().split('\n')]).toEqual([
      2,
      '',
      ['order-payment: --pause-payments-at: expected a whole number from 0 to 1000000000, got "soon"'],
    ])
  })
})
