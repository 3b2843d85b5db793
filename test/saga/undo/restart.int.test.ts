/** A server that crashes: committed rows exist, with their undo data. */
import { pgClient } from 'concordat/core/pg'
import { undo } from 'concordat/saga/undo'
import pg from 'pg'
import { expect, test } from 'vitest'
import { describeWith, startServer } from '../../support/servers/index.ts'
import { undoWorld } from '../support/undo-world.ts'

describeWith(['postgres'], 'a server that is killed and started again', { private: true }, () => {
  test('has the images and the row locks of committed work, and nothing of uncommitted work', {
    timeout: 180_000,
  }, async () => {
    await using server = await startServer('postgres')
    const pool = new pg.Pool({ connectionString: server.url, max: 4 })
    const world = undoWorld(pgClient(pool), 'undo_restart')
    await world.ready()
    await world.sql.query('CREATE TABLE account (id int PRIMARY KEY, cents int)')
    await world.sql.query('INSERT INTO account VALUES (1, 100), (2, 100)')
    await undo.protect(world.sql, ['account'], { schema: world.schema })
    const [decided, open] = [{ id: 'decided' }, { id: 'open' }]
    await world.act(['UPDATE account SET cents = 50 WHERE id = 1'], decided)
    const half = world
      .act(async (tx) => {
        await tx.query('UPDATE account SET cents = 50 WHERE id = 2')
        await server.kill()
      }, open)
      .catch(() => undefined)
    await half
    await server.start()
    expect(await world.rows('account')).toEqual(['(1,50)', '(2,100)'])
    await expect(world.sql.query('UPDATE account SET cents = 1')).rejects.toMatchObject({ code: '55P03' })
    for (const of of [decided, open]) expect(await world.ask('compensate', of)).toMatchObject({ status: 'ok' })
    expect([await world.rows('account'), await world.kept()]).toEqual([
      ['(1,100)', '(2,100)'],
      [0, 0, 0],
    ])
    await pool.end()
  })
})
