import type { Headers, SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { createOutbox } from 'concordat/outbox'
import { postgresLocks } from 'concordat/postgres'
import { migrateParticipant, Refusal } from 'concordat/saga'
import { tccParticipant } from 'concordat/saga/tcc'
import { type UndoParticipantOptions, undo, undoParticipant } from 'concordat/saga/undo'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Operation, UndoHandler } from '../../support/inside/saga.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { Dead, MortalClient } from '../support/mortal.ts'
import { closeEmbedded, embedded, FAST, type StockCommand, stockCommands } from '../support/world.ts'

const sql = embedded()
const schema = 'undo_participant'
const outbox = createOutbox({ sql, service: 'stock', schema, partitions: 1 })
let ids = 0
let id = ''

beforeAll(async () => {
  await outbox.migrate()
  await migrateParticipant(sql, schema)
  await sql.query('CREATE TABLE stock (sku text PRIMARY KEY, n int NOT NULL)')
  await sql.query('CREATE TABLE log (what text)')
  await undo.protect(sql, ['stock'], { schema })
}, 120_000)
beforeEach(async () => {
  id = `s${++ids}`
  await sql.query(`INSERT INTO stock VALUES ($1, 10)`, [id])
})
afterAll(closeEmbedded)

const take: UndoHandler<StockCommand> = async ({ n }, { tx, sagaId }) => {
  const { rows } = await tx.query('UPDATE stock SET n = n - $2 WHERE sku = $1 RETURNING n', [sagaId, n])
  return rows[0]
}

interface Setup extends Partial<UndoParticipantOptions> {
  readonly client?: SqlClient
  readonly handler?: UndoHandler<StockCommand>
}

function bind({ client = sql, handler = take, ...options }: Setup = {}): SinkBinding {
  return undoParticipant(
    stockCommands,
    { group: 'stock', sql: client, outbox, schema, backoff: FAST, ...options },
    handler,
  )
}

const headers = (operation: Operation, step?: string): Headers => ({
  ...commandHeaders(id, operation, 1, step),
  'saga-kind': 'tcc',
})

async function send(binding: SinkBinding, operation: Operation, attempts?: number): Promise<string[]> {
  await deliver(binding, { sku: id, n: 3 }, headers(operation), attempts)
  const all = await takeReplies(sql, schema)
  return all.map(({ operation: of, status, final, code }) =>
    [of, status, ...(final === true ? ['final'] : []), ...(code === undefined ? [] : [code])].join(' '),
  )
}

async function left(): Promise<number | undefined> {
  const { rows } = await sql.query<{ n: number }>('SELECT n FROM stock WHERE sku = $1', [id])
  return rows[0]?.n
}

/** Branches, images and row locks that are left. */
async function kept(): Promise<readonly number[]> {
  const { rows } = await sql.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM ${schema}.saga_undo UNION ALL SELECT count(*)::int FROM ${schema}.saga_undo_image
     UNION ALL SELECT count(*)::int FROM ${schema}.saga_undo_lock`,
  )
  return rows.map(({ n }) => n)
}

describe('an undo participant', () => {
  test('does it at once, and forgets how it was when it is confirmed', async () => {
    const binding = bind()
    for (const _ of [1, 2]) expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    expect([await left(), await kept()]).toEqual([7, [1, 1, 1]])
    for (const _ of [1, 2]) expect(await send(binding, 'confirm')).toEqual(['confirm ok'])
    expect([await left(), await kept()]).toEqual([7, [0, 0, 0]])
    expect(await send(binding, 'compensate')).toEqual(['compensate failed final saga.confirmed'])
  })

  test('puts the rows back when it is cancelled, once', async () => {
    const binding = bind()
    await send(binding, 'invoke')
    for (const _ of [1, 2]) expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect([await left(), await kept()]).toEqual([10, [0, 0, 0]])
    expect(await send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
  })

  test('puts the rows back when its service was renamed, and once only', async () => {
    const binding = bind()
    const from = (service: string): Headers => ({ 'saga-birth': 'b1', 'saga-reply-to': `${service}.saga-replies` })
    await deliver(binding, { sku: id, n: 3 }, { ...headers('invoke'), ...from('orders') })
    await deliver(binding, { sku: id, n: 3 }, { ...headers('invoke'), ...from('sales') })
    expect(await left()).toBe(7)
    await deliver(binding, { sku: id, n: 3 }, { ...headers('compensate'), ...from('sales') })
    expect([await left(), await kept()]).toEqual([10, [0, 0, 0]])
    await takeReplies(sql, schema)
  })

  test('an undo participant of an id that two services use is settled by its birth', async () => {
    const binding = bind({
      handler: async (_, { tx, birth }) => void (await tx.query('INSERT INTO stock VALUES ($1, 1)', [birth])),
    })
    for (const [birth, service] of [
      ['b1', 'orders'],
      ['b2', 'sales'],
    ] as const)
      await deliver(
        binding,
        { sku: id, n: 3 },
        { ...headers('invoke'), 'saga-reply-to': `${service}.saga-replies`, 'saga-birth': birth },
      )
    const lines = await undo.open(sql, { schema })
    expect(lines.map(({ birth }) => birth)).toEqual(['b1', 'b2'])
    const both = { saga: 'order', id, step: 'reserve' }
    await expect(undo.settle(sql, both, 'accept', { schema })).rejects.toThrow(
      /give the birth, one of b1 \(orders\), b2 \(sales\)/,
    )
    for (const line of lines) await undo.settle(sql, line, 'accept', { schema })
    expect(await kept()).toEqual([0, 0, 0])
    await takeReplies(sql, schema)
  })

  test('does it in a transaction that a lock on PostgreSQL guards', async () => {
    const locks = postgresLocks({ sql, schema })
    await locks.migrate()
    await using lease = await locks.acquire('stock', { ttlMs: 10_000 })
    const binding = bind({
      handler: async (command, context) => {
        await locks.guard(context.tx, lease)
        return take(command, context)
      },
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect([await left(), await kept()]).toEqual([10, [0, 0, 0]])
  })

  test('has nothing to undo without a try, and refuses a later try', async () => {
    const binding = bind()
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    expect([await left(), await kept()]).toEqual([10, [0, 0, 0]])
  })

  test('keeps a refusal, and earlier writes of it are gone', async () => {
    const binding = bind({
      handler: async (command, context) => {
        await take(command, context)
        throw new Refusal('stock.empty', 'sold out')
      },
    })
    for (const _ of [1, 2]) expect(await send(binding, 'invoke')).toEqual(['invoke refused stock.empty'])
    expect([await left(), await kept()]).toEqual([10, [0, 0, 0]])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
  })

  test('fails permanently when it writes to a table that is not protected, and names it', async () => {
    const handler: UndoHandler<StockCommand> = async (command, context) => {
      await take(command, context)
      await context.tx.query("INSERT INTO log VALUES ('taken')")
    }
    await deliver(bind({ handler }), { sku: id, n: 3 }, headers('invoke'))
    expect(await takeReplies(sql, schema)).toEqual([
      expect.objectContaining({
        status: 'failed',
        final: true,
        code: 'saga.undo_not_protected',
        message: expect.stringContaining('public.log'),
      }),
    ])
    expect([await left(), await kept()]).toEqual([10, [0, 0, 0]])
    id = `s${++ids}`
    await sql.query('INSERT INTO stock VALUES ($1, 10)', [id])
    const binding = bind({ handler, alsoWrites: ['log'] })
    expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect((await sql.query('SELECT FROM log')).rowCount).toBe(1)
  })

  test('accepts a user’s table with any name and any neighbours', async () => {
    for (const name of ['transport_booking', 'lock', 'saga_notes', 'transport_log_2026', 'token']) {
      id = `s${++ids}`
      await sql.query('INSERT INTO stock VALUES ($1, 10)', [id])
      await sql.query(`CREATE TABLE ${schema}.${name} (line text)`)
      const binding = bind({
        handler: async (command, context) => {
          await take(command, context)
          await context.tx.query(`INSERT INTO ${schema}.${name} VALUES ('taken')`)
        },
      })
      expect(await send(binding, 'invoke')).toEqual(['invoke failed final saga.undo_not_protected'])
      await sql.query(`DROP TABLE ${schema}.${name}`)
    }
  })

  test('refuses a database that does not count writes: unprotected tables would be missed', async () => {
    await sql.query('SET track_counts = off')
    try {
      expect(await send(bind(), 'invoke')).toEqual(['invoke failed 55000'])
      expect([await left(), await kept()]).toEqual([10, [0, 0, 0]])
    } finally {
      await sql.query('RESET track_counts')
    }
  })

  test('an undecided undo participant keeps its row of the barrier against a delete', async () => {
    const binding = bind()
    const purge = () => sql.query(`DELETE FROM ${schema}.saga_barrier WHERE saga_key LIKE '%' || $1 || '%'`, [id])
    await send(binding, 'invoke')
    expect((await purge()).rowCount).toBe(0)
    expect(await send(binding, 'confirm')).toEqual(['confirm ok'])
    expect((await purge()).rowCount).toBe(2)
  })

  test.each(['confirm', 'compensate'] as const)(
    'does not answer the %s of what another kind of participant reserved',
    async (operation) => {
      const nothing = (): void => {}
      const tcc = tccParticipant(
        stockCommands,
        { group: 'stock', sql, outbox, schema, backoff: FAST },
        { try: nothing, confirm: nothing, cancel: nothing },
      )
      expect(await send(tcc, 'invoke')).toEqual(['invoke ok'])
      expect(await send(bind(), operation)).toEqual([`${operation} failed final saga.wrong_participant`])
      expect(await send(tcc, operation)).toEqual([`${operation} ok`])
    },
  )

  test.each(['before', 'after'] as const)(
    'whose process dies at any statement or commit ends as decided (%s its execution)',
    { timeout: 60_000 },
    async (when) => {
      for (const last of ['confirm', 'compensate'] as const) {
        let dead = true
        let n = 0
        for (; dead; ) {
          id = `dies-${++ids}`
          await sql.query('INSERT INTO stock VALUES ($1, 10)', [id])
          const mortal = new MortalClient(sql, ++n, when)
          for (const operation of ['invoke', last] as const) {
            if (!mortal.dead) await send(bind({ client: mortal }), operation, 1).catch(ignoreDead)
            if (mortal.dead) expect((await send(bind(), operation)).at(-1), `${id} ${n}`).toBe(`${operation} ok`)
          }
          expect([await left(), await kept()], `${id} ${n}`).toEqual([last === 'confirm' ? 7 : 10, [0, 0, 0]])
          dead = mortal.dead
        }
        expect(n).toBeGreaterThan(8)
      }
    },
  )
})

function ignoreDead(error: unknown): void {
  if (!(error instanceof Dead)) throw error
}
