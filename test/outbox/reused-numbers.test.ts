/**
 * A server that lost its newest commits assigns their numbers again: a promoted standby that lagged, or a crash where commits
 * do not wait for the disk. A relay may still wait for the broker's answer about a lost message.
 */
// oxlint-disable no-restricted-imports -- inside of the outbox: one statement of a relay, sent after the server has changed
import { type EncodedMessage } from 'concordat/binder'
import { systemClock } from 'concordat/core'
import { describe, expect, test } from 'vitest'
import { UnansweredCalls } from '../../core/unanswered-calls.ts'
import { LeaseKeeper } from '../../outbox/lease.ts'
import { PartitionQueries } from '../../outbox/partition-queries.ts'
import type { WindowRow } from '../../outbox/publish-window.ts'
import { outboxTables } from '../../outbox/tables.ts'
import { gate } from '../support/until.ts'
import { message, until } from './support/messages.ts'
import { setupOutbox, useEmbedded } from './support/pglite.ts'
import type { OutboxSetup } from './support/setup.ts'

useEmbedded()

const named = (prefix: string, count: number): EncodedMessage[] =>
  Array.from({ length: count }, (_, n) => message(`${prefix}${n}`, `k${n}`))

const add = (t: OutboxSetup, messages: readonly EncodedMessage[]): Promise<void> =>
  t.sql.transaction((tx) => t.outbox.addEncoded(tx, messages))

/** Fails over to a server without the last messages, which then gives their numbers to `younger`. */
async function failOver(t: OutboxSetup, younger: readonly EncodedMessage[]): Promise<void> {
  const schema = `"${t.outbox.schema}"`
  await t.sql.query(`DELETE FROM ${schema}.outbox`)
  await t.sql.query(`SELECT setval('${schema}.outbox_seq_seq', 1, false)`)
  await add(t, younger)
}

/** A relay that has fetched its messages, without its loop. */
async function fetchedBy(t: OutboxSetup, count: number) {
  const tables = outboxTables(t.outbox.schema)
  const { sql } = t.outbox
  const keeper = new LeaseKeeper({
    sql,
    tables,
    instance: 'r',
    leaseMs: 60_000,
    longestPauseMs: 60_000,
    clock: systemClock,
  })
  await keeper.claim(1)
  const [lease] = keeper.held
  if (lease === undefined) throw new Error('no lease')
  const table = new PartitionQueries(sql, tables, lease, new UnansweredCalls(systemClock))
  const { rows } = await table.fetch(count, 1_000_000, [])
  expect(rows).toHaveLength(count)
  return { table, rows }
}

describe('a relay whose server has lost messages that it published', () => {
  test('sends the messages that got their numbers', async () => {
    await using t = await setupOutbox({ partitions: 1 })
    const answer = gate()
    let isAsked = false
    t.publisher.before = () => {
      isAsked = true
      return answer.opened
    }
    await t.relay().start()
    await add(t, named('lost', 3))
    await until(() => isAsked, 'the broker has them')
    await failOver(t, named('young', 3))
    answer.open()
    await until(async () => (await t.outbox.stats()).pending === 0, 'all are sent')
    expect(t.publisher.ids.filter((id) => id.startsWith('young'))).toHaveLength(3)
  })

  describe.each([3, 30])('which were %i at once', (count) => {
    const stored = async (t: OutboxSetup): Promise<readonly object[]> =>
      (await t.sql.query(`SELECT id, attempts FROM "${t.outbox.schema}".outbox ORDER BY seq`)).rows
    const untouched = named('young', count).map(({ id }) => ({ id, attempts: 0 }))

    type Table = PartitionQueries
    test.each<readonly [does: string, write: (table: Table, rows: readonly WindowRow[]) => Promise<unknown>]>([
      ['deletes', (table, rows) => table.confirm(rows)],
      [
        'holds back',
        (table, rows) =>
          table.hold(
            rows.map(({ seq, message: { id } }) => ({ seq, id, strikes: 1, delayMs: undefined, error: 'no' })),
          ),
      ],
      ['moves to the log', (table, rows) => table.move(rows, { name: 'log', publishIn: async () => {} })],
    ])('%s none that got one of their numbers', async (_, write) => {
      await using t = await setupOutbox({ partitions: 1 })
      await add(t, named('lost', count))
      const { table, rows } = await fetchedBy(t, count)
      await failOver(t, named('young', count))
      await write(table, rows)
      expect(await stored(t)).toEqual(untouched)
    })
  })
})
