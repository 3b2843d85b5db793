import { silentLogger } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresStateStore } from 'concordat/postgres'
import { expect, onTestFinished, test } from 'vitest'
import { freshPglite } from '../../../support/pglite.ts'

test('a member whose time ran out while the server restarted gets its full time anew, once', async () => {
  const database = freshPglite()
  const sql = pgliteClient(database)
  const store = postgresStateStore({ sql, logger: silentLogger })
  onTestFinished(async () => {
    await store.close()
    await database.close()
  })
  await store.migrate()
  const timing = { suspectAfterMs: 60_000, deadAfterMs: 120_000 }
  await store.join({ cluster: 'c', instance: 'a', joinId: 'j', json: '{}', ...timing })
  await store.sweep('c', timing.suspectAfterMs)
  const statusAfterItsTime = async () => {
    await sql.query('UPDATE concordat.cluster_member SET due_us = 1')
    await sql.query('UPDATE concordat.cluster_head SET next_due_us = 1')
    await store.sweep('c', timing.suspectAfterMs)
    return (await store.members('c')).records[0]?.status
  }
  // The last sweep was in an earlier run of the server.
  await sql.query('UPDATE concordat.cluster_head SET run = run - 1')
  expect(await statusAfterItsTime()).toBe('alive')
  expect(await statusAfterItsTime()).toBe('suspect')
})
