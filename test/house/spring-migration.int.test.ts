/**
 * The programs of the page on migrating from Spring, on brokers whose messages and groups are as Spring leaves them.
 */
import amqp from 'amqplib'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { createDatabase } from '../outbox/support/postgres.ts'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { writePageFiles } from './support/page-files.ts'

const PARTITIONS = 3
/** Number of orders that Spring has handled, out of ten in each partition. */
const HANDLED = 6

const range = (from: number, end: number): readonly number[] => Array.from({ length: end - from }, (_, i) => from + i)
const orderOf = (orderId: string): string => JSON.stringify({ orderId, cents: 100 })
/** Headers as Spring's binder writes them. */
const SPRINGS_HEADERS = {
  contentType: 'application/json',
  spring_json_header_types: '{"contentType":"java.lang.String"}',
}

// Servers of their own: the names on the page are plain ones, which other tests use as well.
describeWith(['kafka', 'rabbitmq', 'postgres'], 'docs/migrating/from-spring-cloud-stream.md', () => {
  let kafka: PrivateServer
  let rabbitmq: PrivateServer

  beforeAll(async () => {
    ;[kafka, rabbitmq] = await Promise.all([startServer('kafka'), startServer('rabbitmq')])
  })
  afterAll(() => Promise.all([kafka.stop(), rabbitmq.stop()]))

  /** A database of the service, with the table that its handler writes, and the files of the page. */
  async function setup(table: string) {
    const database = await createDatabase()
    onTestFinished(() => database.drop())
    await database.pool.query(`CREATE TABLE ${table} ("order" text PRIMARY KEY, cents int)`)
    const page = await writePageFiles('docs/migrating/from-spring-cloud-stream.md', {
      DATABASE_URL: database.url,
      KAFKA_BROKERS: kafka.url,
      RABBITMQ_URL: rabbitmq.url,
    })
    onTestFinished(() => page.remove())
    const orders = async (): Promise<readonly string[]> => {
      const { rows } = await database.pool.query(`SELECT "order" FROM ${table} ORDER BY 1`)
      return rows.map((row) => row.order)
    }
    return { page, orders }
  }

  it('continues in Spring’s Kafka group with uncommitted messages, and leaves the group at its end', async () => {
    const { page, orders } = await setup('payment')
    const client = new Kafka({ brokers: [kafka.url], logLevel: logLevel.NOTHING })
    const [admin, producer] = [client.admin(), client.producer()]
    await Promise.all([admin.connect(), producer.connect()])
    await admin.createTopics({ topics: [{ topic: 'orders.placed', numPartitions: PARTITIONS }] })
    const send = (from: number, end: number): Promise<unknown> => {
      const messages = range(0, PARTITIONS).flatMap((partition) =>
        range(from, end).map((n) => ({ partition, value: orderOf(`${partition}-${n}`), headers: SPRINGS_HEADERS })),
      )
      return producer.send({ topic: 'orders.placed', messages })
    }
    await send(0, 10)
    const partitions = range(0, PARTITIONS).map((partition) => ({ partition, offset: String(HANDLED) }))
    await admin.setOffsets({ groupId: 'payments', topic: 'orders.placed', partitions })

    const program = page.start('kafka/payments.ts')
    const expected = (end: number) =>
      range(0, PARTITIONS).flatMap((partition) => range(HANDLED, end).map((n) => `${partition}-${n}`))
    await until('the rest is handled', async () => (await orders()).length >= 12, 60_000)
    await send(10, 12)
    await until('new orders are handled', async () => (await orders()).length >= 18, 60_000)
    expect(await program.stop()).toBe('SIGTERM')
    expect(await orders()).toEqual(expected(12).toSorted())
    const [of] = await admin.fetchOffsets({ groupId: 'payments', topics: ['orders.placed'] })
    expect(of?.partitions.map(({ offset }) => offset)).toEqual(['12', '12', '12'])
    await Promise.all([admin.disconnect(), producer.disconnect()])
  })

  it("reads on from Spring's RabbitMQ queue beside a Spring instance, and takes every message that is left and new", async () => {
    const { page, orders } = await setup('bill')
    const connection = await amqp.connect(rabbitmq.url)
    const channel = await connection.createConfirmChannel()
    // Declarations as Spring's binder makes them.
    await channel.assertExchange('orders', 'topic')
    await channel.assertQueue('orders.billing', { durable: true })
    await channel.bindQueue('orders.billing', 'orders', '#')
    const send = async (from: number, end: number): Promise<void> => {
      for (const n of range(from, end))
        channel.publish('orders', 'orders', Buffer.from(orderOf(`o-${n}`)), { contentType: 'application/json' })
      await channel.waitForConfirms()
    }
    await send(0, 10)
    const bySpring: string[] = []
    await channel.prefetch(1)
    const { consumerTag } = await channel.consume('orders.billing', (message) => {
      if (message === null) return
      bySpring.push(JSON.parse(message.content.toString()).orderId)
      // This instance is slow until the other one takes part.
      if (bySpring.length <= 2) channel.ack(message)
    })
    await until('Spring has some', () => bySpring.length === 3)

    const program = page.start('rabbitmq/billing.ts')
    await until('the rest is handled', async () => (await orders()).length >= 7, 60_000)
    await send(10, 15)
    await channel.cancel(consumerTag)
    channel.nackAll(true)
    await until('all is handled', async () => (await orders()).length >= 13, 60_000)
    expect(await program.stop()).toBe('SIGTERM')
    const expected = range(0, 15).map((n) => `o-${n}`)
    expect(await orders()).toEqual(expected.filter((id) => !bySpring.slice(0, 2).includes(id)).toSorted())
    expect((await channel.checkQueue('orders.billing')).messageCount).toBe(0)
    await connection.close()
  })
})
