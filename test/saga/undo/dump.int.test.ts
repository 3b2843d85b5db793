/** A database that is moved by pg_dump and pg_restore: every table has another object id there. */
import { spawnSync } from 'node:child_process'
import { pgClient } from 'concordat/core/pg'
import { undo } from 'concordat/saga/undo'
import pg from 'pg'
import { expect, test } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { binary } from '../../support/servers/postgres.ts'
import { type UndoWorld, undoWorld } from '../support/undo-world.ts'

/** With this number of tables some of the new ids are old ones of other tables. */
const TABLES = 24
const NAMES = Array.from({ length: TABLES }, (_, n) => `t${String(n).padStart(2, '0')}`)

describeWith(['postgres'], 'a database that was moved by a dump', { private: true }, () => {
  test('has each table protected by its own functions, with its keys, and waiting work there is undone', {
    timeout: 240_000,
  }, async () => {
    await using old = await startServer('postgres')
    await using fresh = await startServer('postgres')
    const open = (server: PrivateServer) => new pg.Pool({ connectionString: server.url, max: 4 })
    const [oldPool, pool] = [open(old), open(fresh)]
    const before = undoWorld(pgClient(oldPool), 'undo_moved')
    await before.ready()
    // Made in another order than the dump makes them.
    for (const name of NAMES.toReversed())
      await before.sql.query(`CREATE TABLE ${name} (k_${name} int PRIMARY KEY, email text)`)
    await undo.protect(before.sql, NAMES, { schema: before.schema })
    expect(await before.act(["INSERT INTO t00 VALUES (7, 'waits')"], { id: 'waits' })).toMatchObject({ status: 'ok' })
    move(old, fresh)

    const world = undoWorld(pgClient(pool), before.schema)
    const protect = () => undo.protect(world.sql, NAMES, { schema: world.schema })
    expect(await collisions(before, world)).toBeGreaterThan(0)
    // Also after repeated protection, as at each start of a service.
    for (const again of [false, true]) {
      if (again) await protect()
      expect((await undo.protected(world.sql, { schema: world.schema })).filter(({ problem }) => problem)).toEqual([])
      for (const name of NAMES) {
        await world.sql.transaction(async (tx) => {
          await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')
          await tx.query(`INSERT INTO ${name} VALUES (1, 'own')`)
          await tx.query(`DELETE FROM ${name} WHERE email = 'own'`)
        })
        const of = { id: `${name} ${again}` }
        expect(await world.act([`INSERT INTO ${name} VALUES (2, 'saga')`], of)).toMatchObject({ status: 'ok' })
        expect(await world.ask('compensate', of)).toMatchObject({ status: 'ok' })
      }
    }
    expect(await world.ask('compensate', { id: 'waits' })).toMatchObject({ status: 'ok' })
    expect([await world.rows('t00'), await world.kept()]).toEqual([[], [0, 0, 0]])

    await world.sql.query('ALTER TABLE t01 ADD UNIQUE (email)')
    await protect()
    await world.sql.query("INSERT INTO t01 VALUES (1, 'a@x')")
    await world.act(["UPDATE t01 SET email = 'b@x'"], { id: 'unique' })
    await expect(world.sql.query("INSERT INTO t01 VALUES (2, 'a@x')")).rejects.toMatchObject({ code: '55P03' })
    expect(await world.ask('compensate', { id: 'unique' })).toMatchObject({ status: 'ok' })
    expect(await world.rows('t01')).toEqual(['(1,a@x)'])
    await undo.unprotect(world.sql, NAMES, { schema: world.schema })
    const { rows } = await world.sql.query("SELECT proname FROM pg_proc WHERE proname ~ '^saga_undo_(row|texts)_'")
    expect(rows).toEqual([])
    await Promise.all([oldPool.end(), pool.end()])
  })
})

function move(from: PrivateServer, to: PrivateServer): void {
  const run = (name: string, args: readonly string[], input?: Buffer): Buffer => {
    const { status, stdout, stderr } = spawnSync(binary(name), args, { input, maxBuffer: 2 ** 28 })
    if (status !== 0) throw new Error(`${name}: ${stderr.toString()}`)
    return stdout
  }
  run('pg_restore', ['--dbname', to.url], run('pg_dump', ['--format', 'custom', from.url]))
}

/** Number of tables whose id now was another table's before. */
async function collisions(before: UndoWorld, now: UndoWorld): Promise<number> {
  const read = async ({ sql }: UndoWorld): Promise<ReadonlyMap<string, string>> => {
    const { rows } = await sql.query<{ oid: string; name: string }>(
      "SELECT oid::text AS oid, relname AS name FROM pg_class WHERE relname ~ '^t[0-9][0-9]$'",
    )
    return new Map(rows.map(({ oid, name }) => [oid, name]))
  }
  const [was, is] = [await read(before), await read(now)]
  return [...is].filter(([oid, name]) => was.has(oid) && was.get(oid) !== name).length
}
