/** An XA participant on MariaDB whose process, or whose server, dies during its work. */
import { type MysqlTransaction, mysqlResource } from '@concordat/mysql'
import { PGlite } from '@electric-sql/pglite'
import type { SinkBinding } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { pgliteClient } from 'concordat/core/pglite'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant } from 'concordat/saga'
import { xaParticipant } from 'concordat/saga/xa'
import callbacks from 'mysql2'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import type { Operation, XaHandler } from '../../support/inside/saga.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { attachMaria, type MariaDatabase, openMaria } from '../support/maria.ts'
import { die, startUntil } from '../support/stopped-process.ts'
import { FAST, type StockCommand, stockCommands } from '../support/world.ts'

describeWith(['postgres', 'mariadb'], 'an XA participant on MariaDB', { private: true }, () => {
  const schema = 'xa_outages'
  let postgres: PrivateServer
  let server: PrivateServer
  let pool: pg.Pool
  let sql: SqlClient
  let maria: MariaDatabase
  let ids = 0
  let id = ''

  beforeAll(async () => {
    ;[postgres, server] = await Promise.all([
      startServer('postgres', { settings: { fsync: 'off', max_prepared_transactions: '0' } }),
      startServer('mariadb'),
    ])
    pool = new pg.Pool({ connectionString: postgres.url, max: 8 })
    sql = pgClient(pool)
    await createOutbox({ sql, service: 'stock', schema }).migrate()
    await migrateParticipant(sql, schema)
    maria = await openMaria(server.url, schema)
    await maria.pool.query('CREATE TABLE effects (id varchar(60), n int) ENGINE=InnoDB')
  }, 120_000)
  beforeEach(() => {
    id = `s${++ids}`
  })
  afterAll(async () => {
    await maria.end()
    await pool.end()
    await Promise.all([postgres.stop(), server.stop()])
  })

  const write: XaHandler<StockCommand, unknown, MysqlTransaction> = async ({ n }, { tx, sagaId }) => {
    await tx.query('INSERT INTO effects VALUES (?, ?)', [sagaId, n])
    return { n }
  }

  /** Binds the participant. With a concurrency above one a call may wait for a row. */
  function bind(handler = write, { resource } = maria, concurrency = 1, maxAttempts = 3): SinkBinding {
    const outbox = createOutbox({ sql, service: 'stock', schema })
    return xaParticipant(
      stockCommands,
      { group: 'stock', sql, outbox, schema, resource, backoff: FAST, concurrency, maxAttempts },
      handler,
    )
  }

  async function send(binding: SinkBinding, operation: Operation, attempts?: number): Promise<readonly string[]> {
    const headers = { ...commandHeaders(id, operation), 'saga-kind': 'tcc' }
    await deliver(binding, { sku: 'apple', n: 1 }, headers, attempts)
    return (await takeReplies(sql, schema)).map(({ operation: of, status, code = '' }) =>
      `${of} ${status} ${code}`.trim(),
    )
  }

  async function left(): Promise<{ readonly effects: number; readonly prepared: number }> {
    const effects = (await maria.rows('SELECT 1 FROM effects WHERE id = ?', [id])).length
    return { effects, prepared: (await maria.prepared(`order/${id}/`)).length }
  }

  /** A process that has come this far, and does not continue. */
  const startElsewhere = (at: 'in the handler' | 'prepared') =>
    startUntil(at, 'xa-maria-process.ts', { url: postgres.url, mariaUrl: maria.url, schema, id, at })

  async function restart(): Promise<void> {
    await server.kill()
    await server.start()
    await until('it answers', answers)
  }

  const answers = (): Promise<boolean> =>
    maria.pool.query('SELECT 1').then(
      () => true,
      () => false,
    )

  test('keeps prepared work when its server is killed, and commits or rolls it back when that is there again', async () => {
    const decided = id
    expect(await send(bind(), 'invoke')).toEqual(['invoke ok'])
    id = `s${++ids}`
    await send(bind(), 'invoke')
    await restart()
    expect(await left()).toEqual({ effects: 0, prepared: 1 })
    expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
    expect(await left()).toEqual({ effects: 0, prepared: 0 })
    id = decided
    expect(await send(bind(), 'invoke')).toEqual(['invoke ok'])
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
    expect(await maria.transactions()).toBe(0)
  })

  test('whose server is killed during its handler is called again, and nothing is done twice', async () => {
    let calls = 0
    const binding = bind(async (command, context) => {
      const result = await write(command, context)
      if (++calls === 1) await restart()
      return result
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    expect(calls).toBe(2)
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
  })

  test('answers nothing while its server is away, so that its saga waits, and commits when that is back', async () => {
    const once = bind(write, maria, 1, 1)
    expect(await send(once, 'invoke')).toEqual(['invoke ok'])
    await server.kill()
    for (const _ of [1, 2, 3]) await expect(send(once, 'confirm', 1)).rejects.toThrow()
    expect(await takeReplies(sql, schema)).toEqual([])
    await server.start()
    await until('it answers', answers)
    expect(await send(once, 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
  })

  test('waits for a server that is stopped no longer than its time limit, for every command', async () => {
    const resource = mysqlResource(maria.pool, { answerMs: 400 })
    const bounded = bind(
      async (command, context) => {
        const result = await write(command, context)
        if (isStopped) server.pause()
        return result
      },
      { ...maria, resource },
    )
    let isStopped = true
    const timed = async (operation: Operation): Promise<string> => {
      const beganAt = performance.now()
      const said = await send(bounded, operation, 1).catch((error: { readonly code?: string }) => [String(error.code)])
      await expectWithin(performance.now() - beganAt, 10_000)
      return said.join()
    }
    try {
      expect(await timed('invoke')).toContain('saga.mysql_unanswered')
      expect(await timed('compensate')).toContain('saga.mysql_unanswered')
    } finally {
      server.resume()
      isStopped = false
    }
    expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
    id = `s${++ids}`
    expect(await timed('invoke')).toBe('invoke ok')
    server.pause()
    try {
      expect(await timed('confirm')).toContain('saga.mysql_unanswered')
    } finally {
      server.resume()
    }
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
    expect(await maria.transactions()).toBe(0)
  })

  test.each(['in the handler', 'prepared'] as const)(
    'is killed (%s): the next one prepares again, and nothing stays of the first',
    async (at) => {
      await die(await startElsewhere(at))
      expect(await send(bind(), 'invoke')).toEqual(['invoke ok'])
      expect(await left()).toEqual({ effects: 0, prepared: 1 })
      expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
      expect(await left()).toEqual({ effects: 1, prepared: 0 })
      expect(await maria.transactions()).toBe(0)
    },
  )

  test.each(['in the handler', 'prepared'] as const)(
    'is killed (%s), and cancelled by one that has never seen the branch',
    async (at) => {
      await die(await startElsewhere(at))
      expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
      expect(await left()).toEqual({ effects: 0, prepared: 0 })
      expect(await send(bind(), 'invoke')).toEqual(['invoke refused saga.cancelled'])
      expect(await maria.transactions()).toBe(0)
    },
  )

  test('is cut off with its transaction prepared: its connection is closed for it, and the transaction is ended', async () => {
    const gid = 'concordat:0123456789012345678901:1:order/cut/reserve'
    const whose = 'concordat:0123456789012345678901:'
    const other = attachMaria(maria.url, 1)
    const connection = await other.pool.getConnection()
    await connection.query('SELECT GET_LOCK(?, 0)', [whose])
    await connection.query(`XA START '${gid}',''`)
    await connection.query(`INSERT INTO effects VALUES ('cut', 1)`)
    await connection.query(`XA END '${gid}',''`)
    await connection.query(`XA PREPARE '${gid}',''`)
    await until('it is ended', async () => (await maria.resource.end('COMMIT', gid)) === 'ended')
    expect(await maria.rows(`SELECT n FROM effects WHERE id = 'cut'`)).toEqual([{ n: 1 }])
    connection.destroy()
    await other.end()
  })

  test('whose process dies is ended by another one at once, and no commit is lost to the end of its connection', async () => {
    const lost = await Promise.all(
      Array.from({ length: 8 }, async (_, lane) => {
        let count = 0
        for (let n = 1; n <= 25; n++) {
          const whose = `concordat:at-once-${lane}-${n}:`
          const gid = `${whose}1:order/${lane}-${n}/reserve`
          const connection = await mysql.createConnection({ uri: maria.url })
          await connection.query('SELECT GET_LOCK(?, 0)', [whose])
          await connection.query(`XA START '${gid}',''`)
          await connection.query('INSERT INTO effects VALUES (?, 1)', [gid])
          await connection.query(`XA END '${gid}',''`)
          await connection.query(`XA PREPARE '${gid}',''`)
          connection.destroy()
          while ((await maria.resource.end('COMMIT', gid)) !== 'ended');
          count += (await maria.rows('SELECT 1 FROM effects WHERE id = ?', [gid])).length === 1 ? 0 : 1
        }
        return count
      }),
    )
    expect(lost).toEqual(Array.from({ length: 8 }, () => 0))
    expect(await maria.transactions()).toBe(0)
  })

  test('takes a pool with callbacks, too', async () => {
    const other = callbacks.createPool({ uri: maria.url, connectionLimit: 2 })
    await mysqlResource(other).ready()
    await other.promise().end()
  })

  test('gives connections back as they were: no lock, no setting, no transaction', async () => {
    const settings = 'SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout, @@wait_timeout, @@tx_isolation'
    const other = attachMaria(maria.url, 1)
    const before = await other.rows(settings)
    await send(
      bind(() => Promise.reject(Object.assign(new Error('no'), { retryable: false })), other),
      'invoke',
    )
    expect(await other.rows(settings)).toEqual(before)
    id = `s${++ids}`
    await send(bind(write, other), 'invoke')
    expect(await other.rows(settings)).toEqual(before)
    expect(await send(bind(write, other), 'compensate')).toEqual(['compensate ok'])
    expect(await maria.transactions()).toBe(0)
    await other.end()
  })

  test('does not commit a handler that continued after a deadlock, and calls it again', async () => {
    await maria.pool.query('CREATE OR REPLACE TABLE pair (id varchar(10) PRIMARY KEY, n int) ENGINE=InnoDB')
    await maria.pool.query('CREATE OR REPLACE TABLE heavy (n int) ENGINE=InnoDB')
    await maria.pool.query(`INSERT INTO pair VALUES ('left', 0), ('right', 0)`)
    const rival = await maria.pool.getConnection()
    let calls = 0
    const handler: typeof write = async (command, context) => {
      if (++calls > 1) return write(command, context)
      const { tx } = context
      await tx.query(`UPDATE pair SET n = n + 1 WHERE id = 'left'`)
      await rival.query('START TRANSACTION')
      await rival.query(`INSERT INTO heavy VALUES ${'(1), '.repeat(200)}(1)`)
      await rival.query(`UPDATE pair SET n = n + 1 WHERE id = 'right'`)
      const waits = rival.query(`UPDATE pair SET n = n + 1 WHERE id = 'left'`)
      await until('the rival waits', async () => (await maria.transactions('LOCK WAIT')) > 0)
      // The server rolls back the transaction with fewer writes, which is this one; the handler ignores that.
      await tx.query(`UPDATE pair SET n = n + 1 WHERE id = 'right'`).catch(() => {})
      await waits
      await rival.query('ROLLBACK')
      return {}
    }
    expect(await send(bind(handler, maria, 4), 'invoke')).toEqual(['invoke ok'])
    rival.release()
    expect(calls).toBe(2)
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
    expect(await maria.rows(`SELECT DISTINCT n FROM pair`)).toEqual([{ n: 0 }])
  })

  test('has its barrier in PGlite, which prepares nothing', async () => {
    const database = await PGlite.create()
    const own = pgliteClient(database)
    const outbox = createOutbox({ sql: own, service: 'stock', schema })
    await outbox.migrate()
    await migrateParticipant(own, schema)
    const options = { group: 'stock', sql: own, outbox, schema, resource: maria.resource, backoff: FAST }
    const binding = xaParticipant(stockCommands, options, write)
    for (const operation of ['invoke', 'confirm'] as const) {
      await deliver(binding, { sku: 'apple', n: 1 }, { ...commandHeaders(id, operation), 'saga-kind': 'tcc' })
      expect(await takeReplies(own, schema)).toMatchObject([{ operation, status: 'ok' }])
    }
    expect(await left()).toEqual({ effects: 1, prepared: 0 })
    await database.close()
  })

  test('has a table that is made once, and can be read while work is prepared', async () => {
    await send(bind(), 'invoke')
    await maria.resource.migrate()
    await maria.resource.ready()
    expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
  })

  test('forgets old steps, and no prepared one', async () => {
    await send(bind(), 'invoke')
    const [kept] = await maria.prepared(`order/${id}/`)
    await maria.pool.query(
      `INSERT INTO concordat_xa VALUES
         ('concordat:old:', 'order/old/reserve', 'concordat:old:1:', '2020-01-01', '2020-01-02'),
         ('concordat:no:', 'order/no/reserve', NULL, '2020-01-01', NULL)`,
    )
    expect(await maria.resource.purge({ olderThanMs: 24 * 60 * 60 * 1_000 })).toBe(2)
    expect(await maria.prepared(`order/${id}/`)).toEqual([kept])
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
  })

  test('is reported as old with its key and its age', async () => {
    await send(bind(), 'invoke')
    expect(await maria.resource.old(60_000)).toEqual([])
    await until('it is older', async () => (await maria.resource.old(1)).length > 0)
    expect(await maria.resource.old(1)).toEqual([
      { gid: expect.stringContaining(`:1:order/${id}/reserve`), key: `order/${id}/reserve`, ageMs: expect.any(Number) },
    ])
    expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
    expect(await maria.resource.old(1)).toEqual([])
  })
})
