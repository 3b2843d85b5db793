import type { SqlClient, SqlExecutor, SqlTransaction } from 'concordat/core'
import { createInbox, createOutbox } from 'concordat/outbox'
import { expect, test } from 'vitest'
import { message, uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

/** Executor like that of an adapter that sends everything through a call for SELECTs. */
function miscounting<T extends SqlExecutor>(executor: T): T {
  const query: SqlExecutor['query'] = async (text, parameters) => ({
    ...(await executor.query(text, parameters)),
    rowCount: 0,
  })
  return { ...executor, query }
}

test('add does not depend on a transaction’s row counts', async () => {
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'orders', schema: uniqueName('count') })
  await outbox.migrate()
  const add = (...ids: string[]) =>
    sql.transaction((tx) =>
      outbox.addEncoded(
        miscounting(tx),
        ids.map((id) => message(id)),
      ),
    )
  await add('a')
  await add('b', 'c', 'd')
  expect(await outbox.stats()).toMatchObject({ pending: 4 })
})

test('add with a transaction that returns no rows reports that, and not missing tables', async () => {
  const sql = embedded()
  const outbox = createOutbox({ sql, service: 'orders', schema: uniqueName('count') })
  await outbox.migrate()
  const add = (...ids: string[]) =>
    sql.transaction((tx) => {
      const query: SqlExecutor['query'] = async (text, parameters) => {
        const result = await tx.query(text, parameters)
        return text.includes('outbox_meta') ? (result as never) : { rows: [], rowCount: 0 }
      }
      return outbox.addEncoded(
        { ...tx, query },
        ids.map((id) => message(id)),
      )
    })
  await expect(add('a')).rejects.toMatchObject({ code: 'core.sql_row_count', written: 1, rowCount: undefined })
  await expect(add('b', 'c', 'd')).rejects.toMatchObject({ code: 'core.sql_row_count', written: 3 })
  expect(await outbox.stats()).toMatchObject({ pending: 0 })
})

test('another number of partitions is still reported as such, with both numbers', async () => {
  const sql = embedded()
  const schema = uniqueName('count')
  await createOutbox({ sql, service: 'orders', schema, partitions: 2 }).migrate()
  const outbox = createOutbox({ sql, service: 'orders', schema, partitions: 3 })
  const added = sql.transaction((tx) => outbox.addEncoded(tx, [message('a')]))
  await expect(added).rejects.toMatchObject({ code: 'outbox.partitions', configured: 3, stored: 2 })
})

test('an inbox on a client that counts no inserted rows handles a message once, and does handle it', async () => {
  const real = embedded()
  const sql: SqlClient = {
    ...miscounting(real),
    transaction: (work) => real.transaction((tx: SqlTransaction) => work(miscounting(tx))),
  }
  const inbox = createInbox({ sql, schema: uniqueName('count') })
  await inbox.migrate()
  const incoming = { group: 'stock', destination: 'orders.placed', source: 'orders', id: 'a' }
  expect(await inbox.process(incoming, async () => {})).toBe('processed')
  expect(await inbox.process(incoming, async () => {})).toBe('duplicate')
})
