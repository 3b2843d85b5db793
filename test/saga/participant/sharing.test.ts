// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import type { SqlClient, SqlTransaction } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, Refusal, SAGA_HEADERS } from 'concordat/saga'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ReplyOutbox } from '../../../saga/participant/reply-outbox-interface.ts'
import { xidOf } from '../../support/sharing.ts'
import { takeReplies } from '../support/delivery.ts'
import { closeEmbedded, embedded } from '../support/world.ts'
import { sharedParticipant } from './support/shared-participant.ts'

const sql = embedded()
const schema = 'sharing'
const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })

beforeAll(async () => {
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  await sql.query(`CREATE TABLE ${schema}.effects (id text)`)
}, 120_000)
afterAll(closeEmbedded)

async function setup(
  invoke: (sagaId: string, tx: SqlTransaction) => unknown,
  { effects: where = 'anywhere', ...own }: { effects?: 'tx' | 'anywhere'; outbox?: ReplyOutbox; sql?: SqlClient } = {},
) {
  const command = await sharedParticipant({
    sql,
    outbox,
    schema,
    ...own,
    effects: where,
    invoke: async ({ tx, sagaId }) => {
      await tx.query(`INSERT INTO ${schema}.effects VALUES ($1)`, [sagaId])
      return invoke(sagaId, tx)
    },
  })
  await takeReplies(sql, schema)
  await sql.query(`DELETE FROM ${schema}.effects`)
  return { command }
}

async function effects(): Promise<readonly string[]> {
  const { rows } = await sql.query<{ id: string }>(`SELECT id FROM ${schema}.effects ORDER BY id`)
  return rows.map(({ id }) => id)
}

test('commands that are ready together are one commit, and each has its answer', async () => {
  const xids: string[] = []
  const { command } = await setup(async (_, tx) => void xids.push(await xidOf(tx)))
  await Promise.all(['a', 'b', 'c'].map((id) => command(id)))
  expect(new Set(xids.slice(1)).size).toBe(1)
  expect(await effects()).toEqual(['a', 'b', 'c'])
  expect((await takeReplies(sql, schema)).map(({ status }) => status)).toEqual(['ok', 'ok', 'ok'])
})

test('a refusal of a call that repeats one is no definite no', async () => {
  await sql.query(`CREATE TABLE ${schema}.once (id text UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
  await sql.query(`INSERT INTO ${schema}.once VALUES ('taken')`)
  let calls = 0
  const { command } = await setup(async (sagaId, tx) => {
    // Its refused commit rolls back the other call as well.
    if (sagaId === 'x') await tx.query(`INSERT INTO ${schema}.once VALUES ('taken')`)
    if (sagaId === 'y' && ++calls > 1) throw new Refusal('stock.none', 'the last one is gone')
  })
  await Promise.allSettled(['x', 'y'].map((id) => command(id)))
  expect(calls).toBe(2)
  const statuses = (await takeReplies(sql, schema)).map(({ sagaId, status }) => `${sagaId} ${status}`)
  expect(statuses.toSorted()).toEqual(['x failed', 'y failed'])
})

test('a refusal undoes its own command alone, and is answered', async () => {
  const { command } = await setup(async (sagaId) => {
    if (sagaId === 'e') throw new Refusal('stock.out', 'none left')
  })
  await Promise.all(['d', 'e', 'f'].map((id) => command(id)))
  expect(await effects()).toEqual(['d', 'f'])
  const replies = await takeReplies(sql, schema)
  expect(replies.map(({ status }) => status).toSorted()).toEqual(['ok', 'ok', 'refused'])
  await command('e')
  expect((await takeReplies(sql, schema)).map(({ status }) => status)).toEqual(['refused'])
  expect(await effects()).toEqual(['d', 'f'])
})

describe.each(['tx', 'anywhere'] as const)('commands that share a transaction, with effects %s', (where) => {
  beforeEach(() => sql.query(`DELETE FROM ${schema}.saga_barrier`))

  /** Statements in transactions, but for what begins and ends them. */
  function counting(): { readonly sql: SqlClient; readonly statements: string[] } {
    const statements: string[] = []
    const watched = (tx: SqlTransaction): SqlTransaction => ({
      ...tx,
      last: undefined,
      query: (text, parameters) => {
        statements.push(text)
        return tx.query(text, parameters)
      },
    })
    return {
      statements,
      sql: { ...sql, transaction: (work, limits) => sql.transaction((tx) => work(watched(tx)), limits) },
    }
  }

  const answers = async (): Promise<readonly string[]> =>
    (await takeReplies(sql, schema))
      .map(({ sagaId, status, result }) => `${sagaId} ${status} ${String(result)}`)
      .toSorted()

  test('read and write the barrier and the outbox once for all', async () => {
    const client = counting()
    const { command } = await setup((id) => `done ${id}`, { effects: where, sql: client.sql })
    client.statements.length = 0
    await Promise.all(['a', 'b', 'c', 'd'].map((id) => command(id)))
    const of = (part: string): number => client.statements.filter((text) => text.includes(part)).length
    expect(of('outbox_add')).toBe(1)
    expect(of('saga_barrier')).toBe(where === 'tx' ? 2 : 4)
    expect(await answers()).toEqual(['a ok done a', 'b ok done b', 'c ok done c', 'd ok done d'])
    expect(await effects()).toEqual(['a', 'b', 'c', 'd'])
  })

  test('commands that were answered before are answered the same, and not done again', async () => {
    let calls = 0
    const { command } = await setup(() => ++calls, { effects: where })
    calls = 0
    await Promise.all(['a', 'b'].map((id) => command(id)))
    await takeReplies(sql, schema)
    await Promise.all(['a', 'b', 'c'].map((id) => command(id)))
    expect(await answers()).toEqual(['a ok 1', 'b ok 2', 'c ok 3'])
    expect(calls).toBe(3)
  })

  test('have one effect when one of them comes twice at once', async () => {
    const { command } = await setup((id) => id, { effects: where })
    await Promise.all(['a', 'b', 'a', 'c', 'a'].map((id) => command(id)))
    expect(await answers()).toEqual(['a ok a', 'a ok a', 'a ok a', 'b ok b', 'c ok c'])
    expect(await effects()).toEqual(['a', 'b', 'c'])
  })

  test('leave nothing behind of a failed one, which is answered and may be redelivered', async () => {
    let isBroken = true
    const { command } = await setup(
      (id) => {
        if (id === 'b' && isBroken) throw new Error('the shelf is being painted')
        return id
      },
      { effects: where },
    )
    await Promise.all(['a', 'b', 'c'].map((id) => command(id)))
    expect(await answers()).toEqual(['a ok a', 'b failed undefined', 'c ok c'])
    expect(await effects()).toEqual(['a', 'c'])
    isBroken = false
    await Promise.all(['b', 'd'].map((id) => command(id)))
    expect(await answers()).toEqual(['b ok b', 'd ok d'])
    expect(await effects()).toEqual(['a', 'b', 'c', 'd'])
  })

  test('are answered on the channel of each', async () => {
    const { command } = await setup((id) => id, { effects: where })
    const from = (service: string) => ({ [SAGA_HEADERS.replyTo]: `${service}.saga-replies` })
    await Promise.all([command('a', from('north')), command('b', from('south')), command('c', from('north'))])
    const { rows } = await sql.query<{ to: string; id: string }>(
      `DELETE FROM ${schema}.outbox RETURNING aggregatetype AS "to", aggregateid AS id`,
    )
    expect(rows.map(({ to, id }) => `${id} to ${to}`).toSorted()).toEqual([
      'a to north.saga-replies',
      'b to south.saga-replies',
      'c to north.saga-replies',
    ])
  })

  test('have their effects both when two services have a saga of one name and id', async () => {
    const { command } = await setup((id) => id, { effects: where })
    const from = (service: string) => ({ [SAGA_HEADERS.replyTo]: `${service}.saga-replies` })
    await Promise.all([command('a', from('north')), command('b', from('north'))])
    await Promise.all([command('a', from('south')), command('b', from('south')), command('a', from('north'))])
    expect(await effects()).toEqual(['a', 'a', 'b', 'b'])
    expect(await answers()).toHaveLength(5)
  })

  test('are answered through an outbox that takes one message at a time, too', async () => {
    const plain = { add: outbox.add.bind(outbox) }
    const { command } = await setup((id) => id, { effects: where, outbox: plain })
    await Promise.all(['a', 'b', 'c'].map((id) => command(id)))
    expect(await answers()).toEqual(['a ok a', 'b ok b', 'c ok c'])
  })
})
