import { createBinder, defineChannel, encodeMessage, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { until } from '../../support/until.ts'
import { onPglite } from './support/on-pglite.ts'

const { sql } = onPglite()

let count = 0
const Payload = z.object({ n: z.number() })

/** A transactional sender, and a channel that was not declared to it. */
async function setup() {
  const schema = `rolled${++count}`
  const transport = postgresTransport({ sql, schema })
  const sender = createBinder({ service: 'shop', transport, sends: [defineChannel('other', { payload: Payload })] })
  onTestFinished(() => sender.close())
  await sender.start()
  const outbox = createOutbox({ sql, service: 'shop', schema, transport })
  await outbox.migrate()
  const fresh = defineChannel('fresh', { payload: Payload, key: () => 'k', partitions: 2, groups: ['g'] })
  const sent = (numbers: readonly number[], of: SqlClient = sql): Promise<void> =>
    of.transaction(async (tx) => {
      for (const n of numbers) await outbox.add(tx, fresh, { n })
    })
  const rolledBack = async (numbers: readonly number[]): Promise<void> => {
    const failed = sql.transaction(async (tx) => {
      for (const n of numbers) await outbox.add(tx, fresh, { n })
      throw new Error('rolled back')
    })
    await expect(failed).rejects.toThrow('rolled back')
  }
  const read = async (total: number): Promise<readonly number[]> => {
    const got: number[] = []
    const reader = createBinder({
      service: 'reader',
      transport: postgresTransport({ sql, schema }),
      bindings: [sink(fresh, { group: 'g' }, ({ n }) => void got.push(n))],
    })
    onTestFinished(() => reader.close())
    await reader.start()
    await until('all came', () => got.length >= total, 10_000)
    return got
  }
  return { transport, sender, fresh, sent, rolledBack, read }
}

it('no message is lost that is sent after a transaction that made its channel, sent twice and rolled back', async () => {
  const { sent, rolledBack, read } = await setup()
  await rolledBack([1, 2, 3])
  await sent([4])
  await sent([5, 6])
  expect(await read(3)).toEqual([4, 5, 6])
})

it('nothing is confirmed for a channel that does not exist', async () => {
  const { transport, sender, fresh, rolledBack, read } = await setup()
  await rolledBack([1, 2])
  const messages = await Promise.all([3, 4].map(async (n) => encodeMessage(fresh, { n }, 'shop')))
  const outcomes = await transport.publish(messages)
  expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['unroutable', 'unroutable'])
  const inside = sql.transaction(async (tx) => transport.publishIn?.(tx, messages))
  await expect(inside).rejects.toMatchObject({ kind: 'unroutable' })
  await sender.send(fresh, { n: 5 })
  expect(await read(1)).toEqual([5])
})

it('nor for messages after a part of a transaction that was rolled back alone', async () => {
  const { transport, sender, fresh, sent, read } = await setup()
  const message = async (n: number) => encodeMessage(fresh, { n }, 'shop')
  const spec = () => ({ name: 'fresh', partitions: 2, groups: ['g'] })
  await sql.transaction(async (tx) => {
    await tx.query('SAVEPOINT part')
    for (const n of [1, 2]) await transport.publishIn?.(tx, [await message(n)], spec)
    await tx.query('ROLLBACK TO SAVEPOINT part')
  })
  await sent([3, 4])
  await sender.send(fresh, { n: 5 })
  expect(await read(3)).toEqual([3, 4, 5])
})

it('a sender looks up a channel only until a transaction that sent to it has committed', async () => {
  const { sent, read } = await setup()
  await sent([1, 2])
  let asked: string[] = []
  const watched: SqlClient = {
    ...sql,
    transaction: (work) =>
      sql.transaction((tx) =>
        work({
          ...tx,
          last: undefined,
          query: (text, parameters) => {
            asked.push(text)
            return tx.query(text, parameters)
          },
        }),
      ),
  }
  let last = 2
  await until('only what is sent is written', async () => {
    asked = []
    await sent([++last, ++last], watched)
    return asked.length === 2
  })
  expect(await read(last)).toEqual(Array.from({ length: last }, (_, i) => i + 1))
})
