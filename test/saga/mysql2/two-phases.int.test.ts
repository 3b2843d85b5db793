/** A coordinator that is killed in the second phase of a transaction over two PostgreSQL databases and MariaDB. */
import { migrateParticipant } from 'concordat/saga'
import { undo } from 'concordat/saga/undo'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { type BankDatabase, openBank } from '../support/banks.ts'
import { type MariaDatabase, openMaria } from '../support/maria.ts'
import { die, startUntil } from '../support/stopped-process.ts'
import { type Moment, twoPhases } from '../support/two-phases.ts'

describeWith(['postgres', 'mariadb'], 'a coordinator killed in the second phase', { private: true }, () => {
  let servers: PrivateServer[]
  let a: BankDatabase
  let b: BankDatabase
  let maria: MariaDatabase
  let ids = 0

  beforeAll(async () => {
    const [postgres, server] = await Promise.all([startServer('postgres'), startServer('mariadb')])
    servers = [postgres, server]
    a = await openBank(postgres.url, 'phases_a', 'ann')
    b = await openBank(postgres.url, 'phases_b', 'bob')
    maria = await openMaria(server.url, 'phases')
    await maria.pool.query('CREATE TABLE moves (`key` varchar(200) PRIMARY KEY) ENGINE=InnoDB')
    await b.sql.query('CREATE TABLE holds (key text PRIMARY KEY, cents int)')
    await b.sql.query('CREATE TABLE undoable (key text PRIMARY KEY)')
    for (const { sql } of [a, b]) await migrateParticipant(sql)
    await undo.protect(b.sql, ['undoable'])
  }, 120_000)
  afterAll(async () => {
    await Promise.all([a.end(), b.end(), maria.end()])
    await Promise.all(servers.map((server) => server.stop()))
  })

  /** Number of effects of the saga in each place, and of what is left open. */
  async function effects(id: string): Promise<readonly number[]> {
    const key = `phases/${id}/%`
    const count = async (sql: BankDatabase['sql'], table: string) =>
      (await sql.query(`SELECT FROM ${table} WHERE key LIKE $1`, [key])).rowCount
    const moves = await maria.rows('SELECT `key` FROM moves WHERE `key` LIKE ?', [key])
    const done = [
      await count(a.sql, 'moves'),
      await count(b.sql, 'moves'),
      moves.length,
      await count(b.sql, 'undoable'),
    ]
    const left = [await count(b.sql, 'holds'), (await undo.open(b.sql)).length]
    return [...done, ...left, (await a.prepared()).length, (await maria.prepared()).length]
  }

  const MOMENTS: readonly Moment[] = [
    'before PostgreSQL ends',
    'PostgreSQL has ended',
    'MariaDB has ended',
    'within confirm or cancel',
  ]

  test.each(MOMENTS.flatMap((at) => [[at, false] as const, [at, true] as const]))(
    'is followed by one that ends all branches alike: %s, refused %s',
    async (at, refuse) => {
      const id = `p${++ids}`
      await die(await startUntil(at, 'two-phases-process.ts', { a: a.url, b: b.url, maria: maria.url, id, refuse, at }))
      const { saga, service } = twoPhases({ a: a.sql, b: b.sql, maria: maria.resource }, () => Promise.resolve())
      await service.start()
      const run = await service.run(saga, { id, input: { refuse } })
      const { status } = await run.outcome({ timeoutMs: 40_000 })
      expect(status).toBe(refuse ? 'compensated' : 'completed')
      const expected = refuse ? [0, 0, 0, 0, 0, 0, 0, 0] : [1, 1, 1, 1, 0, 0, 0, 0]
      expect(await effects(id)).toEqual(expected)
      await service.close()
    },
    60_000,
  )
})
