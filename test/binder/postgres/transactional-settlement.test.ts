import { type SqlClient, silentLogger, systemClock } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import type { Subscription, Transport, TransportDelivery } from 'concordat/extension'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import type { SettlingTransactions } from '../../support/inside/binder.ts'
import { lossyAnswers } from '../../support/lossy-answers.ts'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'
import { numbered, numbers, Recorder } from '../rabbitmq/kit.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(async () => {
  await database.waitReady
  await sql.query('CREATE TABLE effect (run text NOT NULL, n text NOT NULL)')
}, 180_000)
afterAll(() => database.close())

let runs = 0

/** Set-up whose effects are rows of this run; an effect without its position, or twice, is a failure. */
async function setup(client: SqlClient = sql) {
  const run = `settled-${++runs}`
  const transport: Transport = postgresTransport({ sql: client, schema: 'settling', pollMs: 20 })
  transport.attach({ service: 'test', instance: `test-${runs}`, logger: silentLogger, clock: systemClock })
  onTestFinished(() => transport.close())
  await transport.provision([{ name: run, partitions: 2, groups: ['g'] }])
  const settling = transport.settlingIn?.() as SettlingTransactions
  const subscribe = (recorder: Recorder, settlesIn = settling): Promise<Subscription> =>
    transport.subscribe(
      { destination: run, partitions: 2, group: 'g', prefetch: 20, prefetchBytes: 1_000_000, settlesIn },
      recorder,
    )
  const handle = (...deliveries: readonly TransportDelivery[]): Promise<void> =>
    settling.sql.transaction(async (tx) => {
      for (const { message } of deliveries) await tx.query('INSERT INTO effect VALUES ($1, $2)', [run, message.id])
      await settling.settle(tx, deliveries)
    })
  const effects = async (): Promise<readonly string[]> => {
    const { rows } = await sql.query<{ n: string }>('SELECT n FROM effect WHERE run = $1', [run])
    return rows.map(({ n }) => n.replace(`${run}-`, '')).toSorted((a, b) => Number(a) - Number(b))
  }
  const lag = (): Promise<number | undefined> =>
    Promise.resolve(transport.lag?.({ destination: run, partitions: 2, group: 'g' }))
  return { run, transport, settling, subscribe, handle, effects, lag }
}

it('a transport with transactionsOf settles with the commit of an effect, in any order and for several partitions at once', async () => {
  const { run, transport, subscribe, handle, effects, lag } = await setup()
  await transport.publish(numbered(run, 8, ['a', 'b', 'c', 'd']))
  const recorder = Recorder.keeping()
  const subscription = await subscribe(recorder)
  await until('all are here', () => recorder.got.length === 8)
  const [first, ...rest] = recorder.got as [TransportDelivery, ...TransportDelivery[]]
  await handle(...rest.slice(3))
  await Promise.all([handle(first), ...rest.slice(0, 2).map((delivery) => handle(delivery))])
  expect(await lag()).toBe(1)
  for (const delivery of recorder.got) if (delivery !== rest[2]) delivery.ack()
  await subscription.close()

  const again = Recorder.keeping()
  await subscribe(again)
  await until('what was not settled is back', () => again.got.length > 0)
  expect(again.numbers).toEqual([Number(rest[2]?.message.id.replace(`${run}-`, ''))])
  expect(await effects()).toHaveLength(7)
})

it('a delivery whose transaction rolls back is not settled, and another transaction can settle it', async () => {
  const { run, transport, settling, subscribe, handle, effects, lag } = await setup()
  await transport.publish(numbered(run, 1, ['a']))
  const recorder = Recorder.keeping()
  await subscribe(recorder)
  await until('it is here', () => recorder.got.length === 1)
  const [delivery] = recorder.got as [TransportDelivery]
  const failing = settling.sql.transaction(async (tx) => {
    await settling.settle(tx, [delivery])
    throw new Error('after the place was written')
  })
  await expect(failing).rejects.toThrow('after the place was written')
  expect(await lag()).toBe(1)
  await handle(delivery)
  expect(await lag()).toBe(0)
  expect(await effects()).toEqual(['0'])
})

it('fetching continues on the only connection while transactions settle', async () => {
  const { run, transport, subscribe, handle, effects, lag } = await setup()
  await transport.publish(numbered(run, 120, ['a', 'b', 'c', 'd', 'e']))
  const failures: unknown[] = []
  const recorder = new Recorder((delivery) => {
    handle(delivery).then(
      () => delivery.ack(),
      (error: unknown) => failures.push(error),
    )
  })
  await subscribe(recorder)
  await until('all are handled', async () => (await lag()) === 0)
  expect(failures).toEqual([])
  expect(recorder.losses).toEqual([])
  expect(await effects()).toEqual(numbers(120).map(String))
})

it('a transport with transactionsOf settles nothing of a subscription without these transactions, nor withdrawn messages', async () => {
  const { run, transport, settling, subscribe, handle } = await setup()
  await transport.publish(numbered(run, 1, ['a']))
  const plain = Recorder.keeping()
  const spec = { destination: run, partitions: 2, group: 'g', prefetch: 20, prefetchBytes: 1_000_000 }
  const subscription = await transport.subscribe(spec, plain)
  await until('it is here', () => plain.got.length === 1)
  await expect(handle(...plain.got)).rejects.toMatchObject({ code: 'binder.transport', kind: 'mismatch' })
  await subscription.close()

  const recorder = Recorder.keeping()
  const over = await subscribe(recorder)
  await until('it is back', () => recorder.got.length === 1)
  await over.close()
  await expect(handle(...recorder.got)).rejects.toMatchObject({ code: 'binder.transport', kind: 'unavailable' })
  await expect(sql.transaction((tx) => settling.settle(tx, recorder.got))).rejects.toThrow('settlingIn')
})

it('a transport with transactionsOf has no transactions of a database that is not the transport’s', async () => {
  const { transport } = await setup()
  expect(transport.settlingIn?.({ ...sql })).toBeUndefined()
})

/** Statements and commits of subscribing, fetching, one transaction and what follows. */
const MOMENTS = 40

it.each(['before', 'after'] as const)(
  'a connection that breaks %s any statement or commit leaves every effect once, with its place',
  { timeout: 300_000 },
  async (when) => {
    for (let nth = 1, hasBroken = true; hasBroken; nth++) {
      expect(nth).toBeLessThan(MOMENTS)
      const lossy = lossyAnswers(sql, when)
      const { run, transport, subscribe, handle, effects, lag } = await setup(lossy.sql)
      await transport.publish(numbered(run, 3, ['a']))
      let isOver = false
      const again = async (): Promise<void> => {
        for (let isTaken = false; !isTaken && !isOver; )
          isTaken = await subscribe(recorder()).then(
            () => true,
            () => false,
          )
      }
      const recorder = (): Recorder => {
        const made: Recorder = new Recorder((delivery) => {
          handle(delivery).then(
            () => delivery.ack(),
            () => delivery.release(),
          )
        })
        made.lost = () => void again()
        return made
      }
      lossy.breakNth(nth)
      await again()
      await until(`all are handled, break ${nth}`, async () => (await effects()).length >= 3)
      await until(`all is settled, break ${nth}`, async () => (await lag().catch(() => 1)) === 0)
      expect({ nth, effects: await effects() }).toEqual({ nth, effects: ['0', '1', '2'] })
      hasBroken = lossy.broke()
      isOver = true
      lossy.breakNth(Number.POSITIVE_INFINITY)
      await transport.close()
    }
  },
)
