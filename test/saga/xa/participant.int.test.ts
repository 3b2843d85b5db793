/** An XA participant and its commands, on a real server: PGlite prepares nothing. */
import { DAY, type SqlClient, type SqlTransaction } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { purgeParticipant } from 'concordat/saga'
import { xaParticipant } from 'concordat/saga/xa'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { stopping } from '../support/stopping.ts'
import { stockCommands } from '../support/world.ts'
import { expectAllOrNothing, xaSuite } from '../support/xa-suite.ts'
import { type PreparingDatabase, XaWorld } from '../support/xa-world.ts'

function postgres(sql: SqlClient, schema: string): PreparingDatabase<SqlTransaction> {
  const prepared = async (text: string): Promise<readonly string[]> => {
    const { rows } = await sql.query<{ gid: string }>(
      `SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND strpos(gid, $1) > 0`,
      [text],
    )
    return rows.map(({ gid }) => gid)
  }
  return {
    bind: (handler, { mortal, ...stops }, shared) =>
      xaParticipant(stockCommands, { ...shared, sql: mortal ?? stopping(sql, stops) }, handler),
    insert: (tx, id, what) => tx.query(`INSERT INTO ${schema}.effects VALUES ($1, $2)`, [id, what]),
    append: (tx, text) => tx.query(`UPDATE ${schema}.effects SET what = what || $1 WHERE id = 'hot'`, [text]),
    doUnpreparable: (tx) => tx.query('CREATE TEMP TABLE gone (n int)'),
    effects: async (id) => {
      const { rows } = await sql.query<{ what: string }>(`SELECT what FROM ${schema}.effects WHERE id = $1`, [id])
      return rows.map(({ what }) => what)
    },
    insertHot: () => sql.query(`INSERT INTO ${schema}.effects VALUES ('hot', '')`),
    prepared,
    endByHand: async (verb, text) => {
      for (const gid of await prepared(text)) await sql.query(`${verb} PREPARED '${gid}'`)
    },
    // Its memory is the participant's own.
    purge: async () => {},
    lockTimeoutCode: '55P03',
  }
}

describeWith(['postgres'], 'an XA participant', () => {
  const schema = `xa_it_${process.pid}`
  let pool: pg.Pool
  let sql: SqlClient
  let world: XaWorld<SqlTransaction>

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: serverUrl('postgres'), max: 8 })
    sql = pgClient(pool)
    world = new XaWorld(sql, schema, postgres(sql, schema))
    await world.migrate()
    await sql.query(`CREATE TABLE ${schema}.effects (id text, what text)`)
  })
  afterAll(async () => {
    await world.drop()
    await pool.end()
  })

  xaSuite(() => world)

  test('delivered in any order at the same time ends with all or nothing, and nothing prepared', async () => {
    // A command that meets another call of its step waits for it, and needs no second delivery.
    await expectAllOrNothing(world, 1)
  }, 60_000)

  test('is ended by the server when its process says nothing more in the handler', async () => {
    let limit = ''
    const binding = world.bind(async (_, { tx }) => {
      const { rows } = await tx.query<{ ms: string }>(`SHOW idle_in_transaction_session_timeout`)
      limit = JSON.stringify(rows[0])
    })
    await world.send(binding, 'invoke')
    expect(limit).toContain('1min')
    expect(await world.send(binding, 'compensate')).toEqual(['compensate ok'])
  })

  test('sends what its handler sends once it is committed', async () => {
    const outbox = world.outbox()
    const binding = world.bind(async ({ sku, n }, { tx }) => void (await outbox.add(tx, stockCommands, { sku, n })))
    const sent = async (): Promise<number> =>
      (await sql.query(`DELETE FROM ${schema}.outbox WHERE aggregatetype = 'stock.commands' RETURNING seq`)).rowCount
    await world.send(binding, 'invoke')
    expect(await sent()).toBe(0)
    await world.deliver(binding, 'confirm')
    expect(await sent()).toBe(1)
    await world.answers()
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
    const foreign = new XaWorld(sql, schema, postgres(pgClient(other), schema))
    await world.send(world.bind(), 'invoke')
    expect(await world.send(foreign.bind(), 'confirm')).toEqual(['confirm failed 42501'])
    expect(await world.prepared()).toHaveLength(1)
    expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm ok'])
    await other.end()
    await sql.query(`DROP OWNED BY ${role}`)
    await sql.query(`DROP ROLE ${role}`)
  })

  test('is remembered for as long as its transaction is prepared', async () => {
    await world.send(world.bind(), 'invoke')
    await sql.query(
      `UPDATE ${schema}.saga_barrier SET created_at = now() - interval '9 days' WHERE operation = 'invoke'`,
    )
    await purgeParticipant(sql, { schema, olderThanMs: 2 * DAY })
    expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm ok'])
    expect(await world.effects()).toBe(1)
    await purgeParticipant(sql, { schema, olderThanMs: 2 * DAY })
  })

  test('is forgotten as a whole, once its answer is old, too', async () => {
    const key = `order/${world.id}/reserve`
    const remembered = async (): Promise<number> =>
      (await sql.query(`SELECT FROM ${schema}.saga_barrier WHERE saga_key = $1`, [key])).rowCount
    await world.send(world.bind(), 'invoke')
    await world.send(world.bind(), 'confirm')
    await world.purge()
    expect(await remembered()).toBe(3)
    expect(await world.send(world.bind(), 'confirm')).toEqual(['confirm ok'])
    await sql.query(
      `UPDATE ${schema}.saga_barrier SET created_at = created_at - interval '40 days' WHERE saga_key = $1`,
      [key],
    )
    await world.purge()
    expect(await remembered()).toBe(0)
  })
})
