/** An XA participant and its commands, on a real server: PGlite prepares nothing. */
import type { HandlerContext, Headers, SinkBinding } from 'concordat/binder'
import { DAY, type SqlClient, silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { migrateParticipant, purgeParticipant, Refusal } from 'concordat/saga'
import { tccParticipant } from 'concordat/saga/tcc'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Operation, XaHandler } from '../../support/inside/saga.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { commandHeaders, deliver, takeReplies } from '../support/delivery.ts'
import { Dead, MortalClient } from '../support/mortal.ts'
import { stopping } from '../support/stopping.ts'
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

  function bind(handler: XaHandler<StockCommand> = write, client = sql, maxAttempts = 3): SinkBinding {
    const outbox = createOutbox({ sql, service: 'stock', schema })
    const options = { group: 'stock', sql: client, outbox, schema, backoff: FAST, maxAttempts }
    return xaParticipant(stockCommands, options, handler)
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

  describe('called repeatedly', () => {
    test('prepares once, and commits that once', async () => {
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

    test('rolls its prepared work back', async () => {
      const binding = bind()
      await send(binding, 'invoke')
      for (const _ of [1, 2]) expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
      expect(await send(binding, 'invoke')).toEqual(['invoke refused saga.cancelled'])
      expect(await effects()).toBe(0)
      expect(await prepared()).toEqual([])
    })
  })

  test('has nothing to roll back without a try, and refuses a later try', async () => {
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

  describe('whose process dies at any statement, commit or preparation', () => {
    /**
     * Sends each command to a process that dies at its n-th step, and then again to one that lives. False: it lived.
     */
    async function dieAt(n: number, when: 'before' | 'after', operations: readonly Operation[]): Promise<boolean> {
      id = `dies-${++ids}`
      const mortal = new MortalClient(sql, n, when)
      const [dying, living] = [bind(write, mortal), bind()]
      const answers: string[] = []
      for (const operation of operations) {
        if (!mortal.dead) answers.push(...(await send(dying, operation, 1).catch(ignoreDead)))
        if (mortal.dead) answers.push(...(await send(living, operation)))
      }
      const decided = operations.at(-1) === 'confirm'
      expect(await prepared(), `${id} ${n}`).toEqual([])
      expect(await effects(), `${id} ${n}`).toBe(decided ? 1 : 0)
      expect(new Set(answers), `${id} ${n}`).toEqual(new Set(operations.map((operation) => `${operation} ok`)))
      return mortal.dead
    }

    function ignoreDead(error: unknown): string[] {
      if (error instanceof Dead) return []
      throw error
    }

    test.each(['before', 'after'] as const)('ends as decided (%s its execution)', async (when) => {
      for (const operations of [
        ['invoke', 'confirm'],
        ['invoke', 'compensate'],
      ] as const) {
        let n = 1
        while (await dieAt(n, when, operations)) n++
        expect(n).toBeGreaterThan(12)
      }
    })

    test.each(['before', 'after'] as const)(
      'leaves nothing when it is cancelled instead (%s its execution)',
      async (when) => {
        let n = 0
        for (let dead = true; dead; ) {
          id = `gone-${++ids}`
          const mortal = new MortalClient(sql, ++n, when)
          await send(bind(write, mortal), 'invoke', 1).catch(ignoreDead)
          dead = mortal.dead
          const living = bind()
          expect((await send(living, 'compensate')).at(-1), `${id} ${n}`).toBe('compensate ok')
          expect(await send(living, 'invoke')).toEqual(['invoke refused saga.cancelled'])
          expect([await effects(), await prepared()], `${id} ${n}`).toEqual([0, []])
        }
        expect(n).toBeGreaterThan(6)
      },
    )

    test('before it answered: the next one rolls the prepared work back and prepares again', async () => {
      let calls = 0
      const count: XaHandler<StockCommand> = (command, context) => {
        calls++
        return write(command, context)
      }
      const client = stopping(sql, { afterPrepare: () => Promise.reject(new Dead('killed')) })
      await expect(send(bind(count, client), 'invoke', 1)).rejects.toThrow('killed')
      const [first] = await prepared()
      expect(await send(bind(count), 'invoke')).toEqual(['invoke ok'])
      expect(await prepared()).toEqual([expect.stringContaining(':2:')])
      expect([first?.includes(':1:'), calls]).toEqual([true, 2])
      expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
      expect(await effects()).toBe(1)
    })
  })

  describe('cancelled during the work of another process', () => {
    test('a process that is frozen before its handler is refused when it resumes', async () => {
      const [reached, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const client = stopping(sql, { beforePrepare: () => (reached.resolve(), resume.promise) })
      const slow = deliver(bind(write, client), request, headers('invoke'))
      await reached.promise
      await deliver(bind(), request, headers('compensate'))
      resume.resolve()
      await slow
      expect(await answersLeft()).toEqual(['compensate ok', 'invoke refused saga.cancelled'])
      expect([await effects(), await prepared()]).toEqual([0, []])
    })

    test('in its handler: the cancellation waits for it, and rolls its prepared work back', async () => {
      const [reached, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const slow = deliver(
        bind(async (command, context) => {
          await write(command, context)
          reached.resolve()
          await resume.promise
        }),
        request,
        headers('invoke'),
      )
      await reached.promise
      const cancelled = deliver(bind(), request, headers('compensate'))
      await until('it is marked', async () => {
        const { rows } = await sql.query(
          `SELECT FROM ${schema}.saga_barrier WHERE saga_key = $1 AND operation = 'invoke' AND status = 'cancelled'`,
          [`order/${id}/reserve`],
        )
        return rows.length === 1
      })
      resume.resolve()
      await Promise.all([slow, cancelled])
      expect((await answersLeft()).toSorted()).toEqual(['compensate ok', 'invoke refused saga.cancelled'])
      expect([await effects(), await prepared()]).toEqual([0, []])
    })

    test('a process that has prepared and not answered can no longer answer', async () => {
      const [reached, resume] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const client = stopping(sql, { afterPrepare: () => (reached.resolve(), resume.promise) })
      const slow = deliver(bind(write, client), request, headers('invoke'))
      await reached.promise
      await deliver(bind(), request, headers('compensate'))
      expect(await prepared()).toEqual([])
      resume.resolve()
      await slow
      expect(await answersLeft()).toEqual(['compensate ok', 'invoke refused saga.cancelled'])
    })
  })

  test('delivered in any order at the same time ends with all or nothing, and nothing prepared', async () => {
    // A command that meets another call of its step waits for it, and needs no second delivery.
    const [one, other] = [bind(write, sql, 1), bind(write, sql, 1)]
    const operations: Operation[] = ['invoke', 'compensate', 'invoke', 'invoke']
    for (let n = 0; n < 15; n++) {
      id = `many-${n}`
      const order = operations.toSorted(() => Math.random() - 0.5)
      await Promise.all(order.map((operation, i) => deliver(i % 2 ? one : other, request, headers(operation), 1)))
      expect([await effects(), await prepared()], `${id} ${order.join(' ')}`).toEqual([0, []])
      id = `confirmed-${n}`
      await Promise.all([one, other, one].map((each) => deliver(each, request, headers('invoke'), 1)))
      expect(await prepared(), id).toHaveLength(1)
      await Promise.all([one, other].map((each) => deliver(each, request, headers('confirm'), 1)))
      expect([await effects(), await prepared()], id).toEqual([1, []])
    }
    // A command that was overtaken repeatedly may have to be sent again.
    const failed = (await answersLeft()).filter((answer) => answer.includes('failed'))
    expect(new Set([...failed, 'invoke failed saga.xa_not_yet'])).toEqual(new Set(['invoke failed saga.xa_not_yet']))
  }, 60_000)

  describe('whose prepared transaction was ended by hand', () => {
    async function endByHand(verb: 'COMMIT' | 'ROLLBACK'): Promise<void> {
      for (const gid of await prepared()) await sql.query(`${verb} PREPARED '${gid}'`)
    }

    test('rolled back: it cannot be confirmed, and reports that', async () => {
      await send(bind(), 'invoke')
      await endByHand('ROLLBACK')
      for (const _ of [1, 2]) expect(await send(bind(), 'confirm')).toEqual(['confirm failed final saga.not_prepared'])
      expect(await send(bind(), 'compensate')).toEqual(['compensate ok'])
    })

    test('committed: it can be confirmed, and not cancelled', async () => {
      await send(bind(), 'invoke')
      await endByHand('COMMIT')
      expect(await send(bind(), 'compensate')).toEqual(['compensate failed final saga.confirmed'])
      expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
      expect(await effects()).toBe(1)
    })

    test('committed before it was answered: it is not done a second time', async () => {
      const client = stopping(sql, { afterPrepare: () => Promise.reject(new Dead('killed')) })
      await expect(send(bind(write, client), 'invoke', 1)).rejects.toThrow('killed')
      await endByHand('COMMIT')
      expect(await send(bind(), 'invoke')).toEqual(['invoke failed final saga.committed_by_hand'])
      expect(await send(bind(), 'compensate')).toEqual(['compensate failed final saga.confirmed'])
      expect(await effects()).toBe(1)
    })
  })

  test('does not wait without limit for a row that another saga holds, and has it once that one is decided', async () => {
    await sql.query(`INSERT INTO ${schema}.effects VALUES ('hot', '')`)
    const outbox = createOutbox({ sql, service: 'stock', schema })
    const options = { group: 'stock', sql, outbox, schema, backoff: FAST, lockTimeoutMs: 50, maxAttempts: 1 }
    const binding = xaParticipant(stockCommands, options, async (_, { tx, sagaId }) => {
      await tx.query(`UPDATE ${schema}.effects SET what = what || $1 WHERE id = 'hot'`, [`${sagaId} `])
    })
    const first = id
    expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    id = `s${++ids}`
    expect(await send(binding, 'invoke')).toEqual(['invoke failed 55P03'])
    const second = id
    id = first
    expect(await send(binding, 'confirm')).toEqual(['confirm ok'])
    id = second
    expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    expect(await send(binding, 'confirm')).toEqual(['confirm ok'])
    const { rows } = await sql.query(`SELECT what FROM ${schema}.effects WHERE id = 'hot'`)
    expect(rows).toEqual([{ what: `${first} ${second} ` }])
  })

  test('fails permanently when its handler’s work cannot be prepared', async () => {
    const binding = bind(async (_, { tx }) => void (await tx.query('CREATE TEMP TABLE gone (n int)')))
    expect(await send(binding, 'invoke')).toEqual(['invoke failed final core.sql_cannot_prepare'])
    expect(await send(binding, 'compensate')).toEqual(['compensate ok'])
  })

  test('calls a handler that failed again, in a transaction of its own', async () => {
    let calls = 0
    const binding = bind(async (command, context) => {
      const result = await write(command, context)
      if (++calls === 1) throw new Error('not now')
      return result
    })
    expect(await send(binding, 'invoke')).toEqual(['invoke ok'])
    await send(binding, 'confirm')
    expect(await effects()).toBe(1)
  })

  test('sends what its handler sends once it is committed', async () => {
    const outbox = createOutbox({ sql, service: 'stock', schema })
    const binding = bind(async ({ sku, n }, { tx }) => void (await outbox.add(tx, stockCommands, { sku, n })))
    const sent = async (): Promise<number> =>
      (await sql.query(`DELETE FROM ${schema}.outbox WHERE aggregatetype = 'stock.commands' RETURNING seq`)).rowCount
    await send(binding, 'invoke')
    expect(await sent()).toBe(0)
    await deliver(binding, request, headers('confirm'))
    expect(await sent()).toBe(1)
    await takeReplies(sql, schema)
  })

  test('is committed and rolled back though the payload can no longer be read', async () => {
    const binding = bind()
    for (const operation of ['confirm', 'compensate'] as const) {
      id = `s${++ids}`
      await send(binding, 'invoke')
      const context = {
        headers: headers(operation),
        attempt: 1,
        log: silentLogger,
        signal: new AbortController().signal,
      }
      await binding.unreadable?.(new Error('not JSON'), context as unknown as HandlerContext)
      expect(await answersLeft()).toEqual([`${operation} ok`])
      expect(await prepared()).toEqual([])
    }
  })

  test('leaves what another kind of participant tried to that one', async () => {
    const own = { group: 'stock', sql, outbox: createOutbox({ sql, service: 'stock', schema }), schema }
    const tcc = tccParticipant(stockCommands, own, { try: () => 1, confirm: () => {}, cancel: () => {} })
    await send(tcc, 'invoke')
    expect(await send(bind(), 'compensate')).toEqual(['compensate failed final saga.wrong_participant'])
    expect(await send(bind(), 'confirm')).toEqual(['confirm failed final saga.not_reserved'])
    expect(await send(tcc, 'confirm')).toEqual(['confirm ok'])
  })

  test('under another database user cannot end it, reports why, and leaves it prepared', async () => {
    const role = `xa_role_${process.pid}`
    await sql.query(`CREATE ROLE ${role} LOGIN`)
    await sql.query(`GRANT ALL ON SCHEMA ${schema} TO ${role}`)
    await sql.query(`GRANT ALL ON ALL TABLES IN SCHEMA ${schema} TO ${role}`)
    await sql.query(`GRANT ALL ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role}`)
    const url = new URL(serverUrl('postgres') as string)
    url.username = role
    const other = new pg.Pool({ connectionString: url.href, max: 2 })
    await send(bind(), 'invoke')
    expect(await send(bind(write, pgClient(other)), 'confirm')).toEqual(['confirm failed 42501'])
    expect(await prepared()).toHaveLength(1)
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    await other.end()
    await sql.query(`DROP OWNED BY ${role}`)
    await sql.query(`DROP ROLE ${role}`)
  })

  test('is remembered for as long as its transaction is prepared', async () => {
    await send(bind(), 'invoke')
    await sql.query(
      `UPDATE ${schema}.saga_barrier SET created_at = now() - interval '9 days' WHERE operation = 'invoke'`,
    )
    await purgeParticipant(sql, { schema, olderThanMs: 2 * DAY })
    expect(await send(bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await effects()).toBe(1)
    await purgeParticipant(sql, { schema, olderThanMs: 2 * DAY })
  })

  /** Answers that the test has not looked at, oldest first. */
  async function answersLeft(): Promise<string[]> {
    const all = await takeReplies(sql, schema)
    return all.map(({ operation, status, code }) =>
      [operation, status, ...(code === undefined ? [] : [code])].join(' '),
    )
  }
})
