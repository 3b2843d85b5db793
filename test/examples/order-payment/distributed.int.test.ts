/** The example on real servers, with service processes killed on the way; judged by its tables, not by its report alone. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import amqplib from 'amqplib'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, test } from 'vitest'
import type { Report } from '../../../examples/order-payment/run/report.ts'
import { namesOf, sweep } from '../../../examples/order-payment/run/sweep.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { atNight, isNight } from '../../support/suite/night.ts'
import { until } from '../../support/until.ts'
import { folder, start } from './support/command.ts'
import { type Expected, expected } from './support/model.ts'
import { orderFiles } from './support/orders.ts'

const LIMIT_MS = 170_000
const KILLS = process.env['CONCORDAT_KILLS'] ?? (isNight ? '3' : '2')
const LINES = isNight ? 150 : 60
const SEEDS = (process.env['CONCORDAT_SEEDS'] ?? '7').split(',')

interface Place {
  readonly args: readonly string[]
  readonly schema: (service: string) => string
  /** Prefix of all other names. */
  readonly prefix: string
  /** Deletes what `--keep` left. */
  readonly sweep: () => Promise<void>
}

type Broker = 'kafka' | 'rabbitmq' | 'postgres'

function placeOn(transport: Broker): Place {
  const runId = randomBytes(4).toString('hex')
  const isAlone = transport === 'postgres'
  const broker = isAlone ? [] : [`--${transport}`, need(transport)]
  const redis = isAlone ? undefined : need('redis')
  const stores = ['--postgres', need('postgres'), ...(redis === undefined ? [] : ['--redis', redis])]
  return {
    args: ['--transport', transport, ...broker, ...stores, '--processes', '2', '--run-id', runId, '--keep'],
    schema: (service) => `order_payment_${runId}_${service}`,
    prefix: `order-payment-${runId}`,
    sweep: () => sweep({ transport, broker: need(transport), postgres: need('postgres'), redis }, namesOf(runId)),
  }
}

function need(kind: 'kafka' | 'rabbitmq' | 'postgres' | 'redis'): string {
  const url = serverUrl(kind)
  if (url === undefined) throw new Error(`${kind} is not there`)
  return url
}

/** Reads the tables of the run. */
async function tablesOf({ schema }: Place) {
  const client = new pg.Client({ connectionString: need('postgres') })
  await client.connect()
  try {
    const rows = async (query: string): Promise<readonly string[]> =>
      (await client.query<{ x: string }>(query)).rows.map(({ x }) => x)
    const found = {
      chargedTwice: await rows(
        `SELECT order_id AS x FROM ${schema('payments')}.entry WHERE kind = 'charge' GROUP BY 1 HAVING count(*) > 1`,
      ),
      charged: await rows(`SELECT order_id AS x FROM ${schema('payments')}.entry WHERE kind = 'charge'`),
      refunded: await rows(`SELECT order_id AS x FROM ${schema('payments')}.entry WHERE kind = 'refund'`),
      held: await rows(`SELECT DISTINCT order_id AS x FROM ${schema('stock')}.reservation WHERE NOT released`),
      receipts: await rows(`SELECT order_id AS x FROM ${schema('receipts')}.receipt`),
      sagas: await rows(`SELECT DISTINCT status AS x FROM ${schema('orders')}.saga`),
    }
    return found
  } finally {
    await client.end()
  }
}

function expectModel(report: Report, model: Expected, kills: number): void {
  expect(report.orders).toEqual(model.orders)
  expect(report.ledger).toMatchObject({ chargedCents: model.chargedCents, balanced: true })
  expect(report.stock).toMatchObject({ shipped: model.shipped, balanced: true })
  expect(report.receipts).toBe(model.orders.confirmed)
  expect(report.restarts).toBe(kills)
  expect(report.leaderTerms).toBeGreaterThanOrEqual(1)
}

async function runWithKills(transport: Broker, seed: string): Promise<void> {
  await using files = await folder()
  const orders = orderFiles({ seed: 40 + Number(seed), lines: LINES, customers: 20, skus: 8, plenty: 0.6 })
  const model = expected(orders)
  const place = placeOn(transport)
  const { code, report, stderr } = await files.report([
    ...(await files.orders(orders)),
    ...place.args,
    '--kill',
    KILLS,
    '--seed',
    seed,
  ])
  expect(code, stderr).toBe(0)
  expectModel(report, model, Number(KILLS))
  const confirmed = [...model.outcomes].filter(([, outcome]) => outcome === 'confirmed').map(([id]) => id)
  const tables = await tablesOf(place)
  await place.sweep()
  expect(tables.chargedTwice).toEqual([])
  expect(tables.charged.toSorted()).toEqual(confirmed.toSorted())
  expect(tables.refunded).toEqual([])
  expect(tables.held.toSorted()).toEqual(confirmed.toSorted())
  expect(tables.receipts.toSorted()).toEqual(confirmed.toSorted())
  expect(tables.sagas.toSorted()).toEqual(['compensated', 'completed'])
}

function killing(transport: Broker, seeds: readonly string[]): void {
  test.each(seeds)(`${KILLS} of them killed, seed %s: every order ends once`, { timeout: LIMIT_MS }, (seed) =>
    runWithKills(transport, seed),
  )
}

describeWith(['kafka', 'postgres', 'redis'], 'two processes per service on Kafka', () => {
  killing('kafka', SEEDS)
})

describeWith(['postgres'], 'two processes per service on PostgreSQL alone', () => {
  killing('postgres', atNight(...SEEDS))

  test('a run leaves nothing behind', { timeout: LIMIT_MS }, async () => {
    await using files = await folder()
    const { args, schema } = placeOn('postgres')
    const run = [...(await files.orders(orderFiles({ seed: 3, lines: 20 }))), ...args.filter((arg) => arg !== '--keep')]
    const { code, stderr } = await files.report(run)
    expect(code, stderr).toBe(0)
    const client = new pg.Client({ connectionString: need('postgres') })
    await client.connect()
    const schemas = await client.query('SELECT 1 FROM pg_namespace WHERE nspname LIKE $1', [`${schema('')}%`])
    await client.end()
    expect(schemas.rows).toEqual([])
  })
})

describeWith(['rabbitmq', 'postgres', 'redis'], 'two processes per service on RabbitMQ', () => {
  killing('rabbitmq', SEEDS)

  test('a run leaves nothing behind', { timeout: LIMIT_MS }, async () => {
    await using files = await folder()
    const orders = orderFiles({ seed: 3, lines: 20 })
    const { args, schema, prefix } = placeOn('rabbitmq')
    const pause = ['--pause-payments-at', '5']
    const run = [...(await files.orders(orders)), ...args.filter((arg) => arg !== '--keep'), ...pause]
    const { code, stderr } = await files.report(run)
    expect(code, stderr).toBe(0)
    const client = new pg.Client({ connectionString: need('postgres') })
    await client.connect()
    const schemas = await client.query('SELECT 1 FROM pg_namespace WHERE nspname = ANY($1)', [
      ['orders', 'payments', 'stock', 'receipts'].map(schema),
    ])
    await client.end()
    expect(schemas.rows).toEqual([])
    const redis = new Redis(need('redis'))
    expect(await redis.keys(`*${prefix}*`)).toEqual([])
    redis.disconnect()
    for (const name of ['orders.submitted', 'concordat.bus.events', 'concordat.bus.acks', 'concordat.bus.presence'])
      await expect(hasExchange(`${prefix}.${name}`), name).resolves.toBe(false)
  })

  test('the service processes die with the main process', { timeout: LIMIT_MS }, async () => {
    await using files = await folder()
    const place = placeOn('rabbitmq')
    const [, , ...amounts] = await files.orders(orderFiles({ seed: 3, lines: 20 }))
    const { child, ended } = start(['--orders', '-', ...amounts, ...place.args], { open: true })
    await until('all service processes run', async () => (await childrenOf(child.pid)).length === 8)
    const group = await childrenOf(child.pid)
    child.kill('SIGKILL')
    await ended
    await Promise.all(group.map((pid) => gone(pid)))
    await place.sweep()
  })
})

async function hasExchange(name: string): Promise<boolean> {
  const connection = await amqplib.connect(need('rabbitmq'))
  connection.on('error', () => {})
  const channel = await connection.createChannel()
  channel.on('error', () => {})
  const found = await channel.checkExchange(name).then(
    () => true,
    () => false,
  )
  await connection.close()
  return found
}

async function childrenOf(pid: number | undefined): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  return text.split(' ').filter(Boolean).map(Number)
}

async function gone(pid: number): Promise<void> {
  await until(`process ${pid} is gone`, async () => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State:\tZ')
    return /State:\s+Z/.test(status)
  })
}
