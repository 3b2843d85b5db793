// oxlint-disable no-restricted-imports -- a small part with rules of its own that nobody outside can reach
import type { HandlerContext } from 'concordat/binder'
import { type ContextLogger, type SqlTransaction, silentLogger } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, Refusal } from 'concordat/saga'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SharedTransactions } from '../../../core/sharing/shared-transactions.ts'
import { Barrier } from '../../../saga/participant/barrier.ts'
import { CommandHandler, type ParticipantContext } from '../../../saga/participant/command-handler.ts'
import { stepDuties } from '../../../saga/participant/duties.ts'
import { Unanswered } from '../../../saga/participant/unanswered.ts'
import { StillClock, xidOf } from '../../support/sharing.ts'
import { commandHeaders, takeReplies } from '../support/delivery.ts'
import { closeEmbedded, embedded } from '../support/world.ts'

const sql = embedded()
const schema = 'sharing'
const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })

beforeAll(async () => {
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  await sql.query(`CREATE TABLE ${schema}.effects (id text)`)
}, 120_000)
afterAll(closeEmbedded)

async function setup(invoke: (sagaId: string, tx: SqlTransaction) => Promise<void>) {
  const duties = stepDuties<unknown, ParticipantContext>(new Barrier(schema), {
    invoke: async (_, { tx, sagaId }) => {
      await tx.query(`INSERT INTO ${schema}.effects VALUES ($1)`, [sagaId])
      await invoke(sagaId, tx)
    },
    compensate: () => {},
  })
  const handler = new CommandHandler({
    sql,
    outbox,
    duties,
    madeBy: 'participant',
    maxAttempts: 1,
    telemetry: undefined,
    unanswered: new Unanswered(),
    shared: new SharedTransactions(sql, new StillClock()),
  })
  const command = (sagaId: string): Promise<void> => handler.handle({}, contextOf(sagaId))
  await command('first')
  await takeReplies(sql, schema)
  await sql.query(`DELETE FROM ${schema}.effects`)
  return { command }
}

function contextOf(sagaId: string): HandlerContext {
  return {
    id: sagaId,
    channel: 'stock.commands',
    key: sagaId,
    headers: commandHeaders(sagaId, 'invoke'),
    time: 0,
    source: 'test',
    attempt: 1,
    group: 'stock',
    position: 'here',
    redelivered: false,
    signal: new AbortController().signal,
    log: silentLogger as ContextLogger,
  }
}

async function effects(): Promise<readonly string[]> {
  const { rows } = await sql.query<{ id: string }>(`SELECT id FROM ${schema}.effects ORDER BY id`)
  return rows.map(({ id }) => id)
}

test('commands that are ready together are one commit, and each has its answer', async () => {
  const xids: string[] = []
  const { command } = await setup(async (_, tx) => void xids.push(await xidOf(tx)))
  await Promise.all(['a', 'b', 'c'].map(command))
  expect(new Set(xids.slice(1)).size).toBe(1)
  expect(await effects()).toEqual(['a', 'b', 'c'])
  expect((await takeReplies(sql, schema)).map(({ status }) => status)).toEqual(['ok', 'ok', 'ok'])
})

test('a refusal of a call that repeats one is no definite no', async () => {
  await sql.query(`CREATE TABLE ${schema}.once (id text UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
  await sql.query(`INSERT INTO ${schema}.once VALUES ('taken')`)
  let calls = 0
  const { command } = await setup(async (sagaId, tx) => {
    // Its commit is refused, and with it that of the other.
    if (sagaId === 'x') await tx.query(`INSERT INTO ${schema}.once VALUES ('taken')`)
    if (sagaId === 'y' && ++calls > 1) throw new Refusal('stock.none', 'the last one is gone')
  })
  await Promise.allSettled(['x', 'y'].map(command))
  expect(calls).toBe(2)
  const statuses = (await takeReplies(sql, schema)).map(({ sagaId, status }) => `${sagaId} ${status}`)
  expect(statuses.toSorted()).toEqual(['x failed', 'y failed'])
})

test('a refusal undoes its own command alone, and is answered', async () => {
  const { command } = await setup(async (sagaId) => {
    if (sagaId === 'e') throw new Refusal('stock.out', 'none left')
  })
  await Promise.all(['d', 'e', 'f'].map(command))
  expect(await effects()).toEqual(['d', 'f'])
  const replies = await takeReplies(sql, schema)
  expect(replies.map(({ status }) => status).toSorted()).toEqual(['ok', 'ok', 'refused'])
  await command('e')
  expect((await takeReplies(sql, schema)).map(({ status }) => status)).toEqual(['refused'])
  expect(await effects()).toEqual(['d', 'f'])
})
