import type { Inbox } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createInbox, createOutbox } from 'concordat/outbox'
import { describe, expect, test } from 'vitest'
import { lossyAnswers } from '../support/lossy-answers.ts'
import { StillClock, xidOf } from '../support/sharing.ts'
import { message, uniqueName } from './support/messages.ts'
import { embedded, useEmbedded } from './support/pglite.ts'

useEmbedded()

type Work = Parameters<Inbox['process']>[1]

async function setup(sql: SqlClient = embedded(), reusedIds?: 'drop' | 'accept') {
  const schema = uniqueName('inbox')
  const outbox = createOutbox({ sql, service: 'stock', schema })
  await outbox.migrate()
  const inbox = createInbox({ sql, schema, outbox, reusedIds, clock: new StillClock() })
  await inbox.migrate()
  await sql.query(`CREATE TABLE "${schema}".effect (id text)`)
  const named = (id: string) => ({ group: 'stock', destination: 'orders.placed', source: 'orders', id })
  const process = (id: string, more: Work = async () => {}): Promise<'processed' | 'duplicate'> =>
    inbox.process(
      named(id),
      async (tx, emit) => {
        await tx.query(`INSERT INTO "${schema}".effect VALUES ($1)`, [id])
        await more(tx, emit)
      },
      { sharesTransactions: true },
    )
  const column = async (text: string): Promise<readonly string[]> =>
    (await embedded().query<{ id: string }>(text)).rows.map(({ id }) => id)
  await process('first')
  return {
    outbox,
    process,
    effects: () => column(`SELECT id FROM "${schema}".effect WHERE id <> 'first' ORDER BY id`),
    sent: () => column(`SELECT id FROM "${schema}".outbox ORDER BY seq`),
  }
}

describe('messages that share a transaction', () => {
  test('have one commit for effects, deduplication and outputs', async () => {
    const { process, effects, sent } = await setup()
    const xids: string[] = []
    const work =
      (id: string): Work =>
      async (tx, emit) => {
        xids.push(await xidOf(tx))
        await emit([message(`${id}1`), message(`${id}2`)])
      }
    const ends = await Promise.all(['a', 'b', 'c'].map((id) => process(id, work(id))))
    expect(ends).toEqual(['processed', 'processed', 'processed'])
    expect(new Set(xids).size).toBe(1)
    expect(await effects()).toEqual(['a', 'b', 'c'])
    expect(await sent()).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'c2'])
  })

  test('repeated messages are duplicates beside new ones of their transaction', async () => {
    const { process, effects } = await setup()
    await Promise.all([process('a'), process('b')])
    expect(await Promise.all([process('a'), process('c'), process('b')])).toEqual([
      'duplicate',
      'processed',
      'duplicate',
    ])
    expect(await effects()).toEqual(['a', 'b', 'c'])
  })

  test('messages that come twice at once are handled once', async () => {
    const { process, effects } = await setup()
    const ends = await Promise.all([process('a'), process('b'), process('a'), process('c')])
    expect(ends).toEqual(['processed', 'processed', 'duplicate', 'processed'])
    expect(await effects()).toEqual(['a', 'b', 'c'])
  })

  test.each(['drop', 'accept'] as const)(
    'failed messages leave neither effect nor output nor memory (reusedIds: %s)',
    async (reusedIds) => {
      const { process, effects, sent } = await setup(embedded(), reusedIds)
      const failing: Work = async (_, emit) => {
        await emit([message('never')])
        throw new Error('b fails')
      }
      const ends = await Promise.allSettled([process('a'), process('b', failing), process('c')])
      expect(ends[1]).toMatchObject({ status: 'rejected', reason: { message: 'b fails' } })
      expect(await effects()).toEqual(['a', 'c'])
      expect(await sent()).toEqual([])
      expect(await process('b')).toBe('processed')
    },
  )

  test('when the outputs cannot be written, fail alone', async () => {
    const { process, effects, sent } = await setup()
    const invalid: Work = (_, emit) => emit([message('nul\0')])
    const ends = await Promise.allSettled([
      process('a'),
      process('b', invalid),
      process('c', (_, emit) => emit([message('c1')])),
    ])
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(ends[1]).toMatchObject({ reason: { code: 'outbox.text' } })
    expect(await effects()).toEqual(['a', 'c'])
    expect(await sent()).toEqual(['c1'])
  })

  test.each(['before', 'after'] as const)(
    'are handled once each, when any answer is lost %s its execution',
    async (when) => {
      const lossy = lossyAnswers(embedded(), when)
      const { process, effects } = await setup(lossy.sql)
      const expected: string[] = []
      for (let nth = 1; ; nth++) {
        const ids = ['a', 'b', 'c'].map((name) => `${String(nth).padStart(2, '0')}${name}`)
        expected.push(...ids)
        lossy.breakNth(nth)
        await Promise.allSettled(ids.map((id) => process(id)))
        const hasBroken = lossy.broke()
        lossy.breakNth(Number.POSITIVE_INFINITY)
        await Promise.all(ids.map((id) => process(id)))
        expect(await effects()).toEqual(expected)
        if (!hasBroken || nth > 12) break
      }
      expect(expected.length).toBeGreaterThan(30)
    },
  )

  test('are not shared when they are processed by hand', async () => {
    const sql = embedded()
    const schema = uniqueName('inbox')
    const inbox = createInbox({ sql, schema, clock: new StillClock() })
    await inbox.migrate()
    const xids: string[] = []
    const name = (id: string) => ({ group: 'stock', destination: 'orders.placed', source: 'orders', id })
    await Promise.all(
      ['a', 'b', 'c'].map((id) => inbox.process(name(id), async (tx) => void xids.push(await xidOf(tx)))),
    )
    expect(new Set(xids).size).toBe(3)
  })
})
