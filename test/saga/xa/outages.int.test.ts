/** An XA participant whose process, or whose server, dies in the middle; and one that starts while others work. */
import type { SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Operation, XaHandler } from '../../support/inside/saga.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { die, startUntil } from '../support/stopped-process.ts'
import { FAST, type StockCommand, stockCommands } from '../support/world.ts'

describeWith(['postgres'], 'an XA participant', { private: true }, () => {
  const schema = 'xa_outages'
  let server: PrivateServer
  let pool: pg.Pool
  let sql: SqlClient
  let ids = 0
  let id = ''

  beforeAll(async () => {
    server = await startServer('postgres', { settings: { fsync: 'off' } })
    pool = new pg.Pool({ connectionString: server.url, max: 8 })
    sql = pgClient(pool)
    await createOutbox({ sql, service: 'stock', schema }).migrate()
    await migrateParticipant(sql, schema)
    await sql.query(`CREATE TABLE ${schema}.effects (id text, n int)`)
  })
  beforeEach(() => {
    id = `s${++ids}`
  })
  afterAll(async () => {
    await pool.end()
    await server.stop()
  })

  const write: XaHandler<StockCommand> = async ({ n }, { tx, sagaId }) => {
    await tx.query(`INSERT INTO ${schema}.effects VALUES ($1, $2)`, [sagaId, n])
    return { n }
  }

  function bind(handler: XaHandler<StockCommand> = write, client = sql, maxAttempts = 3): SinkBinding {
    const outbox = createOutbox({ sql, service: 'stock', schema })
    const options = { group: 'stock', sql: client, outbox, schema, backoff: FAST, maxAttempts }
    return xaParticipant(stockCommands, options, handler)
  }

  const ask = (binding: SinkBinding, operation: Operation, attempts?: number): Promise<void> =>
    deliver(binding, { sku: 'apple', n: 1 }, { ...commandHeaders(id, operation), 'saga-kind': 'tcc' }, attempts)

  async function answers(): Promise<readonly string[]> {
    const all = await takeReplies(sql, schema)
    return all.map(({ operation, status, code = '', result }) =>
      [operation, status, code, result === undefined ? '' : JSON.stringify(result)]
        .filter((part) => part !== '')
        .join(' '),
    )
  }

  async function send(binding: SinkBinding, operation: Operation, attempts?: number): Promise<readonly string[]> {
    await ask(binding, operation, attempts)
    return answers()
  }

  async function left(): Promise<{ readonly effects: number; readonly prepared: number }> {
    const { rows } = await sql.query<{ effects: number; prepared: number }>(
      `SELECT (SELECT count(*)::int FROM ${schema}.effects WHERE id = $1) AS effects,
         (SELECT count(*)::int FROM pg_prepared_xacts WHERE strpos(gid, 'order/' || $1 || '/') > 0) AS prepared`,
      [id],
    )
    return rows[0] as { effects: number; prepared: number }
  }

  /** Starts a process that has prepared, and no longer answers. */
  const prepareElsewhere = () => startUntil('prepared', 'xa-process.ts', { url: server.url, schema, id })

  test('keeps prepared work when its server is stopped at once, and commits or rolls it back when that is there again', async () => {
    const decided = id
    await ask(bind(), 'invoke')
    id = `s${++ids}`
    await ask(bind(), 'invoke')
    await answers()
    process.kill(server.pid, 'SIGQUIT')
    await server.kill()
    await server.start()
    await until('it answers', () =>
      sql.query('SELECT 1').then(
        () => true,
        () => false,
      ),
    )
    expect(await left()).toEqual({ effects: 0, prepared: 1 })
    expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
    expect(await left()).toEqual({ effects: 0, prepared: 0 })
    id = decided
    expect(await send(bind(), 'invoke')).toEqual(['invoke ok {"n":1}'])
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
  })

  test('is killed between its preparation and its answer: the next one prepares again, and nothing stays of the first', async () => {
    await die(await prepareElsewhere())
    expect(await left()).toEqual({ effects: 0, prepared: 1 })
    expect(await send(bind(), 'invoke')).toEqual(['invoke ok {"n":1}'])
    expect(await left()).toEqual({ effects: 0, prepared: 1 })
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
  })

  test('is killed between its preparation and its answer, and cancelled by one that has never seen the branch', async () => {
    await die(await prepareElsewhere())
    expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
    expect(await left()).toEqual({ effects: 0, prepared: 0 })
    expect(await send(bind(), 'invoke')).toEqual(['invoke refused saga.cancelled'])
  })

  test('gives the result of a try that another process made', async () => {
    await ask(bind(), 'invoke')
    await answers()
    const unseen = bind(() => Promise.reject(new Error('called again')))
    expect(await send(unseen, 'invoke')).toEqual(['invoke ok {"n":1}'])
    expect(await send(unseen, 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
  })

  test('cancels a call that began when the cancellation had checked and found none', async () => {
    const [looked, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let transactions = 0
    const slow: SqlClient = {
      ...sql,
      transaction: async (work) => {
        if (++transactions === 1) {
          looked.resolve()
          await resume.promise
        }
        return sql.transaction(work)
      },
    }
    const cancelled = ask(bind(write, slow), 'compensate')
    await looked.promise
    await ask(bind(), 'invoke')
    expect(await left()).toEqual({ effects: 0, prepared: 1 })
    resume.resolve()
    await cancelled
    expect(await answers()).toEqual(['invoke ok {"n":1}', 'compensate ok'])
    expect(await left()).toEqual({ effects: 0, prepared: 0 })
  })

  test('gives up a duplicate that cannot begin, and leaves the work to the call that is at it', async () => {
    const [reached, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let calls = 0
    const slow = ask(
      bind(async (command, context) => {
        calls++
        reached.resolve()
        await resume.promise
        return write(command, context)
      }),
      'invoke',
    )
    await reached.promise
    let begun = 0
    const failing: SqlClient = {
      ...sql,
      transaction: (work) => (begun++ === 0 ? Promise.reject(new Error('connection lost')) : sql.transaction(work)),
    }
    expect(await send(bind(write, failing, 1), 'invoke', 1)).toEqual(['invoke failed Error'])
    resume.resolve()
    await slow
    expect(await answers()).toEqual(['invoke ok {"n":1}'])
    expect(calls).toBe(1)
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
  })

  test('answers a command for another kind with its own kind', async () => {
    await deliver(bind(), { sku: 'apple', n: 1 }, commandHeaders(id, 'invoke'))
    expect(await takeReplies(sql, schema)).toMatchObject([
      {
        status: 'refused',
        code: 'saga.wrong_participant',
        message: 'order/reserve asks for participant, and "stock.commands" has xaParticipant: change one of them',
      },
    ])
  })
})
