/**
 * A poison message in a batch with an inbox: PostgreSQL answers 25P02 to every statement after a failed one, so most
 * failures that a handler reports are not about their messages. One dead letter, everything else handled once, for any
 * SQLSTATE.
 */
import { type BatchOutcome, createBinder, defineChannel, failed, ok, sinkBatch } from 'concordat/binder'
import { type SqlTransaction, silentLogger } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { createInbox } from 'concordat/outbox'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { until } from '../support/until.ts'
import { uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

const COUNT = 30
const POISON = 3

const channel = defineChannel('orders', {
  payload: z.object({ key: z.string(), n: z.number() }),
  key: ({ key }) => key,
  partitions: 4,
  groups: ['g'],
})

type Write = (tx: SqlTransaction, n: number) => Promise<unknown>
type Outcomes = (writes: ReadonlyArray<() => Promise<unknown>>) => Promise<readonly BatchOutcome[] | undefined>

const OUTCOMES: Readonly<Record<string, Outcomes>> = {
  'one after the other, each error told': async (writes) => {
    const outcomes: BatchOutcome[] = []
    for (const write of writes) outcomes.push(await write().then(() => ok, failed))
    return outcomes
  },
  'all at once with Promise.allSettled': async (writes) => {
    const settled = await Promise.allSettled(writes.map((write) => write()))
    return settled.map((each) => (each.status === 'fulfilled' ? ok : failed(each.reason)))
  },
  'with the failed statement swallowed': async (writes) => {
    for (const write of writes) await write().catch(() => {})
    return undefined
  },
  'with the failed statement swallowed and the others told': async (writes) => {
    const outcomes: BatchOutcome[] = []
    let isFirst = true
    for (const write of writes)
      outcomes.push(
        await write().then(
          () => ok,
          (error: unknown) => {
            if (!isFirst) return failed(error)
            isFirst = false
            return ok
          },
        ),
      )
    return outcomes
  },
  'with a throw': async (writes) => {
    for (const write of writes) await write()
    return undefined
  },
}

const POISONS: Readonly<Record<string, string>> = {
  '23514 (a CHECK constraint)': 'INSERT INTO effect (n) VALUES (-1)',
  '23505 (a unique index)': 'INSERT INTO effect (n) VALUES (1000)',
  '22012 (a division by zero)': 'SELECT 1/0',
  '42P01 (a missing table)': 'INSERT INTO nowhere VALUES (1)',
  'P0001 (a trigger that raises)': `DO $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
}

async function play(outcomes: Outcomes, poison: string, options: object = {}) {
  const sql = embedded()
  const schema = uniqueName('poison')
  const inbox = createInbox({ sql, schema })
  await inbox.migrate()
  await sql.query(`CREATE TABLE "${schema}".effect (n int UNIQUE CHECK (n >= 0))`)
  await sql.query(`INSERT INTO "${schema}".effect VALUES (1000)`)
  const write: Write = (tx, n) =>
    n === POISON
      ? tx.query(poison.replace('effect', `"${schema}".effect`))
      : tx.query(`INSERT INTO "${schema}".effect VALUES ($1)`, [n])
  const binding = sinkBatch(
    channel,
    { group: 'g', inbox, batch: { maxSize: COUNT, maxWaitMs: 50 }, backoff: { initialMs: 1, maxMs: 1 }, ...options },
    (items, { tx }) =>
      outcomes(
        items.map(
          ({ payload: { n } }) =>
            () =>
              write(tx, n),
        ),
      ),
  )
  const transport = memoryTransport()
  const binder = createBinder({ service: 's', transport, sends: [channel], bindings: [binding], logger: silentLogger })
  onTestFinished(() => binder.close())
  await binder.start()
  await binder.sendBatch(
    channel,
    Array.from({ length: COUNT }, (_, n) => ({ key: `k${n % 7}`, n })),
  )
  const status = () => binder.binding('orders.g').status()
  await until('all came to their end', () => {
    const { handled, deadLettered, dropped } = status()
    return handled + deadLettered + dropped === COUNT
  })
  const { rows } = await sql.query<{ n: number }>(`SELECT n FROM "${schema}".effect WHERE n < 1000 ORDER BY n`)
  return { status: status(), effects: rows.map(({ n }) => n) }
}

const OTHERS = Array.from({ length: COUNT }, (_, n) => n).filter((n) => n !== POISON)

test.each(Object.keys(OUTCOMES))('a poison message leaves one dead letter when the handler works %s', async (how) => {
  const { status, effects } = await play(OUTCOMES[how] as Outcomes, POISONS['23514 (a CHECK constraint)'] as string)
  expect(status).toMatchObject({ handled: COUNT - 1, deadLettered: 1 })
  expect(effects).toEqual(OTHERS)
})

test.each(Object.keys(POISONS))('a poison message leaves one dead letter when it fails with %s', async (code) => {
  const outcomes = OUTCOMES['one after the other, each error told'] as Outcomes
  const { status, effects } = await play(outcomes, POISONS[code] as string)
  expect(status).toMatchObject({ handled: COUNT - 1, deadLettered: 1 })
  expect(effects).toEqual(OTHERS)
})

test('a poison message is dropped alone where the binding drops failures', async () => {
  const outcomes = OUTCOMES['one after the other, each error told'] as Outcomes
  const { status, effects } = await play(outcomes, POISONS['23514 (a CHECK constraint)'] as string, {
    onFailure: 'drop',
  })
  expect(status).toMatchObject({ handled: COUNT - 1, dropped: 1, deadLettered: 0 })
  expect(effects).toEqual(OTHERS)
})

test('a poison message is retried alone where retries are delayed', async () => {
  const outcomes = OUTCOMES['one after the other, each error told'] as Outcomes
  const { status, effects } = await play(outcomes, POISONS['23514 (a CHECK constraint)'] as string, {
    retry: 'delayed',
  })
  expect(status).toMatchObject({ handled: COUNT - 1, deadLettered: 1, retried: 2 })
  expect(effects).toEqual(OTHERS)
})
