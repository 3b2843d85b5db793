/** A Nest application as a process of its own, which is terminated while its handlers run. */
import { spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { createBinder } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { postgresTransport } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { jobs } from './drain-job.ts'

const JOBS = 60

describeWith(['postgres'], 'a Nest process', () => {
  let database: TestDatabase
  let pool: pg.Pool
  beforeAll(async () => {
    database = await createDatabase()
    pool = new pg.Pool({ connectionString: database.url, max: 4 })
  })
  afterAll(async () => {
    await pool.end()
    await database.drop()
  })

  function start() {
    const program = resolve(import.meta.dirname, 'drain-program.ts')
    const child = spawn(process.execPath, ['--conditions=concordat-source', program], {
      env: { ...process.env, DATABASE: database.url },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [said, complained] = ['', '']
    child.stdout.on('data', (part: Buffer) => (said += part.toString()))
    child.stderr.on('data', (part: Buffer) => (complained += part.toString()))
    const ended = new Promise<{ code: number | null; signal: string | null }>((end) =>
      child.once('exit', (code, signal) => end({ code, signal })),
    )
    return { child, ended, began: () => said.match(/began/g)?.length ?? 0, complaints: () => complained }
  }
  const done = async () => (await pool.query<{ n: number; pid: number }>('SELECT n, pid FROM done')).rows

  test('drains on SIGTERM and ends with 0: what ran is done, the rest is done by the next, each once', async () => {
    const sql = pgClient(pool)
    await pool.query('CREATE TABLE done (n int NOT NULL, pid int NOT NULL)')
    const binder = createBinder({ service: 'sender', transport: postgresTransport({ sql }), sends: [jobs] })
    await binder.start()
    const first = start()
    await binder.sendBatch(
      jobs,
      Array.from({ length: JOBS }, (_, n) => ({ n })),
    )
    await until('some run', () => first.began() >= 6)
    first.child.kill('SIGTERM')
    expect([await first.ended, first.complaints()]).toEqual([{ code: 0, signal: null }, ''])
    const before = await done()
    expect(before.length).toBe(first.began())
    expect(before.length).toBeLessThan(JOBS)
    const second = start()
    await until('all are done', async () => (await done()).length >= JOBS)
    second.child.kill('SIGTERM')
    expect(await second.ended).toEqual({ code: 0, signal: null })
    expect((await done()).map(({ n }) => n).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: JOBS }, (_, n) => n),
    )
    await binder.close()
  })
})
