/** The example while the servers under it are killed with SIGKILL and started again, one after the other. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Report } from '../../../examples/order-payment/run/report.ts'
import { describeWith, startServer } from '../../support/servers/index.ts'
import { isNight } from '../../support/suite/night.ts'
import { folder, type Running, start } from './support/command.ts'
import { expected } from './support/model.ts'
import { orderFiles } from './support/orders.ts'

const LIMIT_MS = 300_000
/** Less than the test's own limit, so that its failure shows the progress of the run. */
const ENDS_WITHIN_MS = LIMIT_MS - 10_000
const ORDERS = isNight ? 300 : 150

async function runWhileServersDie(transport: 'kafka' | 'rabbitmq'): Promise<void> {
  await using files = await folder()
  await using broker = await startServer(transport)
  await using postgres = await startServer('postgres')
  await using redis = await startServer('redis')
  const orders = orderFiles({ seed: 3, lines: ORDERS, customers: 30, skus: 12, plenty: 0.8 })
  const out = join(files.path, 'report.json')
  const addresses = [`--${transport}`, broker.url, '--postgres', postgres.url, '--redis', redis.url]
  const deadline = performance.now() + ENDS_WITHIN_MS
  const running = start([...(await files.orders(orders)), '--transport', transport, ...addresses, '--report', out])
  for (const [i, server] of [broker, redis, postgres].entries()) {
    await untilEnded(running, (ORDERS * (i + 1)) / 5, deadline)
    await server.kill()
    await server.start()
  }
  await untilEnded(running, Infinity, deadline)
  const { code, stderr } = await running.ended
  expect(code, stderr).toBe(0)
  const report = JSON.parse(await readFile(out, 'utf8')) as Report
  const model = expected(orders)
  expect(report.orders).toEqual(model.orders)
  expect(report.ledger).toMatchObject({ chargedCents: model.chargedCents, balanced: true })
  expect(report.stock).toMatchObject({ shipped: model.shipped, balanced: true })
  expect(report.receipts).toBe(model.orders.confirmed)
}

/** Waits for the count in its progress on standard error; a run that ends before it reports counts as ended. */
async function untilEnded(running: Running, count: number, deadline: number): Promise<void> {
  let over = false
  void running.ended.then(() => (over = true))
  const told = (): number => Number([...running.stderr().matchAll(/(\d+) of \d+ orders ended/g)].at(-1)?.[1] ?? 0)
  while (!over && told() < count) {
    if (performance.now() > deadline) throw new Error(`the run has not come to ${count} orders:\n${running.stderr()}`)
    await sleep(50)
  }
}

if (isNight) {
  describeWith(['kafka', 'postgres', 'redis'], 'Kafka, Redis and PostgreSQL killed', { private: true }, () => {
    test('every order ends as if nothing had happened', { timeout: LIMIT_MS }, () => runWhileServersDie('kafka'))
  })
}

describeWith(['rabbitmq', 'postgres', 'redis'], 'RabbitMQ, Redis and PostgreSQL killed', { private: true }, () => {
  test('every order ends as if nothing had happened', { timeout: LIMIT_MS }, () => runWhileServersDie('rabbitmq'))
})
