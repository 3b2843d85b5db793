/** The operator on real servers: the payments in processes of their own are paused over the bus, some of them killed. */
import { expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { isNight } from '../../support/suite/night.ts'
import { folder } from './support/command.ts'
import { expected } from './support/model.ts'
import { orderFiles } from './support/orders.ts'

const LIMIT_MS = 170_000

function need(kind: 'kafka' | 'rabbitmq' | 'postgres' | 'redis'): string {
  const url = serverUrl(kind)
  if (url === undefined) throw new Error(`${kind} is not there`)
  return url
}

async function pausedRun(transport: 'kafka' | 'rabbitmq', ...more: readonly string[]): Promise<void> {
  await using place = await folder()
  const files = orderFiles({ seed: 51, lines: 150, customers: 20, skus: 8, plenty: 0.6 })
  const servers = ['--transport', transport, `--${transport}`, need(transport), '--postgres', need('postgres')]
  const rest = ['--redis', need('redis'), '--processes', '2', '--pause-payments-at', '60']
  const { code, report, stderr } = await place.report([...(await place.orders(files)), ...servers, ...rest, ...more])
  const model = expected(files)
  expect(code, stderr).toBe(0)
  expect(report.orders).toEqual(model.orders)
  expect(report.ledger).toMatchObject({ chargedCents: model.chargedCents, refundedCents: 0, balanced: true })
  expect(report.stock).toMatchObject({ shipped: model.shipped, balanced: true })
  expect(report.pausedPayments).toMatchObject({ at: 60, acknowledgedBy: ['payments-1', 'payments-2'] })
  expect(report.pausedPayments?.waited).toBeGreaterThan(0)
  expect(stderr).toMatch(/^Payments paused at 60 orders: payments-1, payments-2 acknowledged in \d+ ms\.$/m)
  expect(stderr).toMatch(/^Payments resumed after .* s: \d+ orders had waited; payments-1, payments-2 acknowledged/m)
}

describeWith(['rabbitmq', 'postgres', 'redis'], 'payments paused on RabbitMQ', () => {
  test('in the middle of kills: all instances answer, every order ends once', { timeout: LIMIT_MS }, async () => {
    await pausedRun('rabbitmq', '--kill', '4', '--seed', '3')
  })
})

if (isNight) {
  describeWith(['kafka', 'postgres', 'redis'], 'payments paused on Kafka', () => {
    test('all instances answer, every order ends once', { timeout: LIMIT_MS }, async () => {
      await pausedRun('kafka')
    })
  })
}
