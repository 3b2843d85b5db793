/** What an XA participant does about its commands, on a real server: PGlite prepares nothing. */
import type { Headers, SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, type Operation, Refusal, type XaHandler, xaParticipant } from 'concordat/saga'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { FAST, type StockCommand, stockCommands } from '../support/world.ts'

describeWith(['postgres'], 'an XA participant', () => {
  const schema = `xa_it_${process.pid}`
  const request: StockCommand = { sku: 'apple', n: 1 }
  let pool: pg.Pool
  let sql: SqlClient
  let ids = 0
  let id = ''

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 8 })
    sql = pgClient(pool)
    await createOutbox({ sql, service: 'stock', schema }).migrate()
    await migrateParticipant(sql, schema)
    await sql.query(`CREATE TABLE ${schema}.effects (id text, what text)`)
  })
  beforeEach(() => {
    id = `s${++ids}`
  })
  afterAll(async () => {
    for (const gid of await prepared('concordat:')) await sql.query(`ROLLBACK PREPARED '${gid}'`)
    await sql.query(`DROP SCHEMA ${schema} CASCADE`)
    await pool.end()
  })

  const write: XaHandler<StockCommand> = async ({ n }, { tx, sagaId }) => {
    await tx.query(`INSERT INTO ${schema}.effects VALUES ($1, 'done')`, [sagaId])
    return { n }
  }

  function bind(handler: XaHandler<StockCommand> = write, client = sql): SinkBinding {
    const outbox = createOutbox({ sql, service: 'stock', schema })
    return xaParticipant(stockCommands, { group: 'stock', sql: client, outbox, schema, backoff: FAST }, handler)
  }

  const headers = (operation: Operation): Headers => ({ ...commandHeaders(id, operation), 'saga-kind': 'tcc' })

  async function send(binding: SinkBinding, operation: Operation, attempts?: number): Promise<string[]> {
    await deliver(binding, request, headers(operation), attempts)
    const all = await takeReplies(sql, schema)
    return all.map(({ operation: of, status, final, code }) =>
      [of, status, ...(final === true ? ['final'] : []), ...(code === undefined ? [] : [code])].join(' '),
    )
  }

  async function effects(): Promise<number> {
    const { rows } = await sql.query(`SELECT FROM ${schema}.effects WHERE id = $1`, [id])
    return rows.length
  }

  /** The names of the prepared transactions of this saga, or of all. */
  async function prepared(of = `order/${id}/`): Promise<string[]> {
    const { rows } = await sql.query<{ gid: string }>(
      `SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND strpos(gid, $1) > 0`,
      [of],
    )
    return rows.map(({ gid }) => gid)
  }

  describe('asked again and again', () => {
    test('prepares once, and commits what it prepared once', async () => {
      const binding = bind()
      expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
      expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
      expect(await effects()).toBe(0)
      expect(await prepared()).toHaveLength(1)
      for (const _ of [1, 2]) expect(await send(binding, 'confirm')).toEqual(['confirm ok'])
      expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
      expect(await effects()).toBe(1)
      expect(await prepared()).toEqual([])
    })

    test('rolls back what it prepared', async () => {
      const binding = bind()
      await send(binding, 'invoke')
      for (const _ of [1, 2]) expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
      expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
      expect(await effects()).toBe(0)
      expect(await prepared()).toEqual([])
    })
  })

  test('has nothing to roll back without a try, and refuses the try that comes after', async () => {
    const binding = bind()
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    expect(await prepared()).toEqual([])
  })

  test('commits nothing that was never tried, refused or rolled back, and rolls nothing back that was committed', async () => {
    const binding = bind()
    expect(await send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
    id = `s${++ids}`
    await send(binding, 'invoke')
    await send(binding, 'confirm')
    expect(await send(binding, 'compensate')).toEqual(['compensate failed final saga.confirmed'])
    expect(await send(binding, 'confirm')).toEqual(['confirm ok'])
    id = `s${++ids}`
    await send(binding, 'invoke')
    await send(binding, 'compensate')
    expect(await send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await effects()).toBe(0)
  })

  test('keeps a refusal; nothing is prepared, nothing has to be rolled back', async () => {
    const binding = bind(async (_, { tx }) => {
      await tx.query(`INSERT INTO ${schema}.effects VALUES ($1, 'half')`, [id])
      throw new Refusal('stock.empty', 'sold out')
    })
    for (const _ of [1, 2]) expect(await send(binding, 'invoke')).toEqual(['invoke refused stock.empty'])
    expect(await send(binding, 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
    expect(await effects()).toBe(0)
  })
})
