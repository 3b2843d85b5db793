import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { expect, test } from 'vitest'
import { message, until } from './support/messages.ts'
import { setupOutbox, useEmbedded } from './support/pglite.ts'

useEmbedded()

const drop = { by: 'ann', reason: 'sent by hand' }

test('the health of a relay names a message that it gave up on until it is dropped, also that of the next relay', async () => {
  await using t = await setupOutbox({ partitions: 1 })
  t.publisher.verdict = ({ id }) => (id.startsWith('large') ? 'too_large' : undefined)
  const relay = t.relay()
  await relay.start()
  await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('large', 'a'), message('b', 'b')]))
  await until(() => relay.health().status === 'degraded', 'it says so')
  expect(relay.health().detail).toMatch(/^message large to \S+ parked, call outbox\.retry or outbox\.drop: ./)
  await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('large-2', 'c')]))
  await until(() => relay.health().detail?.includes('and 1 other parked') === true, 'it counts both')
  await relay.close()

  const next = t.relay()
  await next.start()
  await until(() => next.health().status === 'degraded', 'the next relay says so')
  for (const id of ['large', 'large-2']) await t.outbox.drop(id, drop)
  await until(() => next.health().status === 'up', 'it is up again')
  expect(next.health().detail).toBeUndefined()
})

test('the health of a relay names a message that it gave up on though the table could not be asked at that moment', async () => {
  await using t = await setupOutbox({ partitions: 1 })
  t.publisher.verdict = ({ id }) => (id === 'large' ? 'too_large' : undefined)
  let failures = 0
  let isParking = false
  const query: SqlClient['query'] = async (text, parameters) => {
    if (isParking && failures === 0 && text.includes('ORDER BY parked_at')) {
      failures++
      throw new Error('Connection terminated')
    }
    return t.sql.query(text, parameters)
  }
  const { schema, partitions } = t.outbox
  const outbox = createOutbox({ sql: { ...t.sql, query }, service: 'orders', schema, partitions })
  const relay = t.relay({ outbox })
  await relay.start()
  await until(() => relay.health().partitions.length === 1, 'it has the partition')
  await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('a', 'a')]))
  await until(() => t.publisher.ids.includes('a'), 'it has looked, and delivers')
  isParking = true
  await t.sql.transaction((tx) => t.outbox.addEncoded(tx, [message('large', 'b')]))
  await until(() => failures === 1, 'the table could not be asked')
  await until(() => relay.health().detail?.includes('message large') === true, 'it says so')
})
