/** Sending where the transport has not looked for the destination yet, while PostgreSQL does not answer. */
import { createBinder, defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { postgresTransport } from 'concordat/postgres'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { onPglite, starterOn } from './support/on-pglite.ts'

const { sql } = onPglite()

test('a batch of messages ends by the deadline of its sends, with one look for their destination', async () => {
  const schema = 'unknown_destination'
  const numbers = defineChannel('numbers', { payload: z.number(), key: () => 'k', partitions: 1 })
  await (await starterOn(sql, schema)({ sends: [numbers] })).close()
  let looks = 0
  const silent: SqlClient = {
    ...sql,
    query: (text, parameters) => {
      if (!text.includes('.transport_partition p CROSS JOIN')) return sql.query(text, parameters)
      looks++
      return new Promise<never>(() => {})
    },
  }
  const transport = postgresTransport({ sql: silent, schema, provision: 'none' })
  const binder = createBinder({ service: 'test', transport, sends: [numbers], sendTimeoutMs: 500 })
  onTestFinished(() => binder.close())
  await binder.start()
  const sends = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => binder.send(numbers, n)))
  expect(sends.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 'rejected'))
  // The first send may leave alone; all others are one batch.
  expect(looks).toBeLessThanOrEqual(2)
}, 30_000)
