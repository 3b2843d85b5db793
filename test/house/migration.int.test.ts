/** The page on moving a running service, played with its own programs on brokers that hold messages. */
import amqp from 'amqplib'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { type PageFiles, writePageFiles } from './support/page-files.ts'

const PAGE = 'docs/migrating/from-kafkajs-and-amqplib.md'
const BEFORE = 30
const OVERLAP = 60
const AFTER = 90
const BACK = 110

// Servers of their own: the names on the page are plain ones, which other tests use as well.
describeWith(['kafka', 'rabbitmq', 'postgres'], PAGE, () => {
  let database: TestDatabase
  let page: PageFiles
  let kafka: PrivateServer
  let rabbitmq: PrivateServer

  beforeAll(async () => {
    ;[kafka, rabbitmq] = await Promise.all([startServer('kafka'), startServer('rabbitmq')])
    database = await createDatabase()
    page = await writePageFiles([PAGE, 'test/house/support/migrated-programs.md'], {
      DATABASE_URL: database.url,
      KAFKA_BROKERS: kafka.url,
      RABBITMQ_URL: rabbitmq.url,
    })
  })
  afterAll(async () => {
    await page.remove()
    await database.drop()
    await Promise.all([kafka.stop(), rabbitmq.stop()])
  })

  /** Waits for bills of all orders below `end` that can be billed. One order in ten has nothing to bill. */
  const billed = (end: number): Promise<unknown> =>
    until(
      `orders below ${end} are billed`,
      async () => {
        const { rows } = await database.pool.query(
          `SELECT count(DISTINCT "order")::int AS n FROM bill WHERE "by" <> 'letter'`,
        )
        return rows[0].n >= end - end / 10
      },
      90_000,
    )
  const billsBy = async (name: string): Promise<readonly string[]> => {
    const { rows } = await database.pool.query(`SELECT "order" FROM bill WHERE "by" = $1 ORDER BY 1`, [name])
    return rows.map((row) => row.order)
  }
  const twice = async (): Promise<readonly string[]> => {
    const { rows } = await database.pool.query(`SELECT "order" FROM bill GROUP BY 1 HAVING count(*) > 1`)
    return rows.map((row) => row.order)
  }
  const ordersFrom = (from: number, end: number): readonly string[] =>
    Array.from({ length: end - from }, (_, i) => from + i)
      .filter((n) => n % 10 !== 9)
      .map((n) => `o-${n}`)
      .sort()

  it('a kafkajs consumer, its dead letters and its producer move, and back, without a lost or repeated message', async () => {
    await database.pool.query('DROP TABLE IF EXISTS bill')
    await database.pool.query(`CREATE TABLE bill ("order" text, cents int, "by" text)`)
    const admin = new Kafka({ brokers: [kafka.url], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const topics = [
      { topic: 'orders', numPartitions: 3 },
      { topic: 'orders-dlq', numPartitions: 1 },
    ]
    await admin.createTopics({ topics })

    await page.run('kafka/before/shop.ts', '0', String(BEFORE))
    const old = page.start('kafka/before/billing.ts')
    await billed(BEFORE)
    await page.run('kafka/before/shop.ts', String(BEFORE), String(OVERLAP))
    const successor = page.start('kafka/after/billing.ts')
    await billed(OVERLAP)
    expect(await old.stop()).toBe(0)
    await page.run('kafka/after/shop.ts', String(OVERLAP), String(AFTER))
    await billed(AFTER)
    const letters = page.start('kafka/after/old-letters.ts')
    await until('the old letters are handled', async () => (await billsBy('letter')).length >= 3)
    expect(await letters.stop()).toBe('SIGTERM')
    expect(await successor.stop()).toBe('SIGTERM')
    await page.run('kafka/before/shop.ts', String(AFTER), String(BACK))
    const again = page.start('kafka/before/billing.ts')
    await billed(BACK)
    expect(await again.stop()).toBe(0)

    const byOld = new Set(await billsBy('old'))
    expect(await billsBy('new')).toEqual(expect.arrayContaining([...ordersFrom(OVERLAP, AFTER)]))
    expect([...byOld]).toEqual(expect.arrayContaining([...ordersFrom(0, BEFORE), ...ordersFrom(AFTER, BACK)]))
    // Orders that the old version had handled, but not committed, when its partitions moved: never committed ones.
    const repeated = await twice()
    expect(repeated.filter((order) => !byOld.has(order))).toEqual([])
    expect(repeated.filter((order) => ordersFrom(0, BEFORE).includes(order))).toEqual([])
    expect(await admin.fetchTopicOffsets('orders.billing.dlq')).not.toEqual([])
    await admin.disconnect()
  })

  it('an amqplib consumer and its producer move, and back, without a message lost or billed twice', async () => {
    await database.pool.query('DROP TABLE IF EXISTS bill')
    await database.pool.query(`CREATE TABLE bill ("order" text PRIMARY KEY, cents int, "by" text)`)
    const old = page.start('rabbitmq/before/billing.ts')
    const connection = await amqp.connect(rabbitmq.url)
    await until('the old version has made its queue', async () => {
      const channel = await connection.createChannel()
      channel.on('error', () => {})
      return channel.checkQueue('billing').then(
        ({ consumerCount }) => consumerCount > 0,
        () => false,
      )
    })
    await connection.close()
    await page.run('rabbitmq/before/shop.ts', '0', String(BEFORE))
    await billed(BEFORE)
    const successor = page.start('rabbitmq/after/billing.ts')
    await page.run('rabbitmq/before/shop.ts', String(BEFORE), String(OVERLAP))
    await billed(OVERLAP)
    expect(await old.stop()).toBe(0)
    await page.run('rabbitmq/after/shop.ts', String(OVERLAP), String(AFTER))
    await billed(AFTER)
    expect(await billsBy('new')).toEqual(expect.arrayContaining([...ordersFrom(OVERLAP, AFTER)]))
    expect(await successor.stop()).toBe('SIGTERM')
    await page.run('rabbitmq/before/shop.ts', String(AFTER), String(BACK))
    const again = page.start('rabbitmq/before/billing.ts')
    await billed(BACK)
    expect(await again.stop()).toBe(0)
    expect(await billsBy('old')).toEqual(expect.arrayContaining([...ordersFrom(AFTER, BACK)]))
  })
})
