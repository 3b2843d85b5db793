/** An XA participant that prepares on MariaDB, beside a barrier on PostgreSQL. */
import type { MysqlTransaction } from '@concordat/mysql'
import { DAY, type SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { type XaResource, xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'
import { type MariaDatabase, openMaria } from '../support/maria.ts'
import { MortalResource, stoppingResource } from '../support/mortal-resource.ts'
import { stockCommands } from '../support/world.ts'
import { expectAllOrNothing, xaSuite } from '../support/xa-suite.ts'
import { type PreparingDatabase, XaWorld } from '../support/xa-world.ts'

function mariadb(sql: SqlClient, maria: MariaDatabase): PreparingDatabase<MysqlTransaction> {
  return {
    bind: (handler, { mortal, ...stops }, shared) => {
      const resource =
        mortal === undefined ? stoppingResource(maria.resource, stops) : new MortalResource(maria.resource, mortal)
      return xaParticipant(stockCommands, { ...shared, sql: mortal ?? sql, resource }, handler)
    },
    insert: (tx, id, what) => tx.query('INSERT INTO effects VALUES (?, ?)', [id, what]),
    append: (tx, text) => tx.query(`UPDATE effects SET what = concat(what, ?) WHERE id = 'hot'`, [text]),
    doUnpreparable: (tx) => tx.query('CREATE TABLE gone (n int)'),
    effects: async (id) =>
      (await maria.rows<{ what: string }>('SELECT what FROM effects WHERE id = ?', [id])).map(({ what }) => what),
    insertHot: () => maria.pool.query(`INSERT INTO effects VALUES ('hot', '')`),
    prepared: (text) => maria.prepared(text),
    endByHand: (verb, text) => maria.endByHand(verb, text),
    purge: async (key) => {
      const [gate] = await maria.rows<{ whose: string }>('SELECT whose FROM concordat_xa WHERE saga_key = ?', [key])
      const ages = 'UPDATE concordat_xa SET begun_at = begun_at - INTERVAL 40 DAY WHERE whose = ?'
      await maria.pool.query(ages, [gate?.whose])
      await maria.resource.purge({ olderThanMs: 30 * DAY })
    },
    lockTimeoutCode: 'ER_LOCK_WAIT_TIMEOUT',
  }
}

/** An open transaction of another program. */
async function otherTransaction(maria: MariaDatabase) {
  const connection = await maria.pool.getConnection()
  await connection.query('START TRANSACTION')
  return {
    query: async (text: string): Promise<void> => void (await connection.query(text)),
    async [Symbol.asyncDispose](): Promise<void> {
      await connection.query('ROLLBACK')
      connection.release()
    },
  }
}

describeWith(['postgres', 'mariadb'], 'an XA participant on MariaDB', () => {
  const schema = `xa_maria_${process.pid}`
  let pool: pg.Pool
  let maria: MariaDatabase
  let world: XaWorld<MysqlTransaction>

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 8 })
    const sql = pgClient(pool)
    maria = await openMaria(serverUrl('mariadb') as string, schema)
    await maria.pool.query('CREATE TABLE effects (id varchar(60), what varchar(200), KEY id (id)) ENGINE=InnoDB')
    world = new XaWorld(sql, schema, mariadb(sql, maria))
    await world.migrate()
  })
  afterAll(async () => {
    await world.drop()
    await maria.pool.query(`DROP DATABASE ${schema}`)
    await maria.end()
    await pool.end()
  })

  xaSuite(() => world)

  test('has locked its gate before it asks whether it was cancelled: a cancellation at that moment waits for it', async () => {
    world.next()
    const [asked, looked, resume] = [gate(), gate(), gate()]
    const asking: SqlClient = {
      ...world.sql,
      query: async (text, parameters) => {
        const result = await world.sql.query<never>(text, parameters)
        if (!text.includes("status = 'begun' AND gid = $3")) return result
        asked.open()
        await resume.opened
        return result
      },
    }
    const looking: XaResource<MysqlTransaction> = {
      ...stoppingResource(maria.resource, {}),
      look: async (whose) => {
        const state = await maria.resource.look(whose)
        looked.open()
        return state
      },
    }
    const on = (sql: SqlClient, resource: XaResource<MysqlTransaction>) =>
      xaParticipant(stockCommands, { group: 'stock', outbox: world.outbox(), schema, sql, resource }, world.write)
    const slow = world.deliver(on(asking, maria.resource), 'invoke')
    await asked.opened
    const cancelled = world.deliver(on(world.sql, looking), 'compensate')
    await looked.opened
    resume.open()
    await Promise.all([slow, cancelled])
    expect((await world.answers()).toSorted()).toEqual(['compensate ok', 'invoke refused saga.cancelled'])
    expect([await world.effects(), await world.prepared()]).toEqual([0, []])
  })

  test('delivered in any order at the same time ends with all or nothing, and nothing prepared', async () => {
    await expectAllOrNothing(world, 8)
  }, 60_000)

  test('that is the victim of a deadlock is called again without an attempt', async () => {
    const name = `effects_of_${world.id}`
    await maria.pool.query(`CREATE TABLE ${name} (id int PRIMARY KEY, v int) ENGINE=InnoDB`)
    await maria.pool.query(`INSERT INTO ${name} VALUES (1, 0), (2, 0)`)
    await using other = await otherTransaction(maria)
    // The server ends the transaction that wrote less.
    const many = Array.from({ length: 200 }, (_, n) => `(${n + 10}, 0)`).join()
    await other.query(`INSERT INTO ${name} VALUES ${many}`)
    await other.query(`UPDATE ${name} SET v = 1 WHERE id = 2`)
    let calls = 0
    let waits: Promise<void> | undefined
    const { sql, schema: own } = world
    const { resource } = maria
    const binding = xaParticipant(
      stockCommands,
      // Only a participant of several commands at a time waits for rows.
      { group: 'stock', sql, outbox: world.outbox(), schema: own, resource, concurrency: 4, lockTimeoutMs: 5_000 },
      async (_, { tx }) => {
        calls++
        await tx.query(`UPDATE ${name} SET v = 10 WHERE id = 1`)
        waits ??= other.query(`UPDATE ${name} SET v = 1 WHERE id = 1`).then(() => other.query('ROLLBACK'))
        if (calls === 1) await until('the other one waits', async () => (await maria.transactions('LOCK WAIT')) > 0)
        await tx.query(`UPDATE ${name} SET v = 10 WHERE id = 2`)
      },
    )
    expect(await world.send(binding, 'invoke', 1)).toEqual(['invoke ok'])
    await waits
    expect(calls).toBe(2)
    expect(await world.send(binding, 'confirm')).toEqual(['confirm ok'])
    expect(await maria.rows(`SELECT id, v FROM ${name}`)).toEqual([
      { id: 1, v: 10 },
      { id: 2, v: 10 },
    ])
  }, 30_000)

  test('prepares nothing after a statement that waited too long for a row, also when its handler catches the error', async () => {
    await maria.pool.query('CREATE OR REPLACE TABLE held (id int PRIMARY KEY, n int)')
    await maria.pool.query('INSERT INTO held VALUES (1, 0)')
    await using other = await otherTransaction(maria)
    await other.query('UPDATE held SET n = 1')
    let caught: unknown
    const binding = world.bind(async (command, context) => {
      await world.write(command, context)
      await context.tx.query('UPDATE held SET n = 2').catch((error: unknown) => (caught = error))
    })
    expect(await world.send(binding, 'invoke', 1)).toEqual(['invoke failed ER_LOCK_WAIT_TIMEOUT'])
    expect(caught).toMatchObject({ code: 'ER_LOCK_WAIT_TIMEOUT' })
    expect(await world.prepared()).toEqual([])
  })

  test('prepares the row that its handler took after NOWAIT had refused another one', async () => {
    await maria.pool.query(`INSERT INTO effects VALUES ('taken', ''), ('free', '')`)
    await using other = await otherTransaction(maria)
    await other.query(`UPDATE effects SET what = 'x' WHERE id = 'taken'`)
    const refused: unknown[] = []
    const binding = world.bind(async (_, { tx }) => {
      const take = (id: string) => tx.query('SELECT id FROM effects WHERE id = ? FOR UPDATE NOWAIT', [id])
      await take('taken').catch((error: unknown) => refused.push(error))
      await take('free')
      await tx.query(`UPDATE effects SET what = 'z' WHERE id = 'free'`)
    })
    expect(await world.send(binding, 'invoke', 1)).toEqual(['invoke ok'])
    expect(refused).toMatchObject([{ code: 'ER_LOCK_WAIT_TIMEOUT' }])
    expect(await world.prepared()).toHaveLength(1)
    expect(await world.send(binding, 'compensate')).toEqual(['compensate ok'])
  })

  test('is ended by the server when its process says nothing more in the handler', async () => {
    const limits: unknown[] = []
    const binding = world.bind(async (_, { tx }) => {
      limits.push(...(await tx.query('SELECT @@wait_timeout AS seconds')).rows)
    })
    await world.send(binding, 'invoke')
    expect(limits).toEqual([{ seconds: 60 }])
    expect(await world.send(binding, 'compensate')).toEqual(['compensate ok'])
  })

  test('never counts an XA COMMIT that was answered and did nothing as a commit', async () => {
    const lying = { ...maria, resource: { ...stoppingResource(maria.resource, {}), end: async () => 'ended' as const } }
    await world.send(world.bind(), 'invoke')
    const believer = new XaWorld(world.sql, schema, mariadb(world.sql, lying))
    expect(await world.send(believer.bind(), 'confirm')).toEqual(['confirm failed saga.xa_not_yet'])
    expect([await world.effects(), (await world.prepared()).length]).toEqual([0, 1])
    expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await world.effects()).toBe(1)
  })
})
