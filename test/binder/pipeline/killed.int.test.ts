import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createBinder } from 'concordat/binder'
import { postgresTransport } from 'concordat/binder/postgres'
import { expect, test } from 'vitest'
import { createDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { sold } from './support/world.ts'

const FLAGS = ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source']
const MESSAGES = 250

async function start(url: string): Promise<ChildProcess> {
  const env = { ...process.env, DATABASE_URL: url }
  const child = spawn(process.execPath, [...FLAGS, 'test/binder/pipeline/support/worker.ts'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

describeWith(['postgres'], 'processes of a pipeline that are killed', () => {
  test('have counted each message once, and closed every window', async () => {
    const database = await createDatabase()
    const { sql } = database
    await sql.query('CREATE TABLE kept (sku text, count int, cents int)')
    const children = [await start(database.url), await start(database.url)]
    const binder = createBinder({ service: 'till', transport: postgresTransport({ sql }), sends: [sold] })
    await binder.start()
    await binder.ready()
    const sum = async () =>
      (
        await sql.query<{ n: number; cents: number }>(
          'SELECT coalesce(sum(count), 0)::int AS n, coalesce(sum(cents), 0)::int AS cents FROM kept',
        )
      ).rows[0]
    for (let n = 0; n < MESSAGES; n += 50) {
      const some = Array.from({ length: 50 }, (_, k) => ({ sku: `s${(n + k) % 5}`, cents: n + k }))
      await binder.sendBatch(sold, some, (_, k) => ({ id: `m${n + k}` }))
      await binder.sendBatch(sold, some.slice(0, 20), (_, k) => ({ id: `m${n + k}` }))
      const victim = (n / 50) % 2
      // In the middle of its work, wherever that is.
      await until('some of it is under way', async () => ((await sum())?.n ?? 0) > n / 2)
      children[victim]?.kill('SIGKILL')
      children[victim] = await start(database.url)
    }
    await until('all is counted', async () => ((await sum())?.n ?? 0) >= MESSAGES, 120_000)
    await until('no window is open', async () => {
      const { rows } = await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM concordat.pipeline_window')
      return rows[0]?.n === 0
    })
    expect(await sum()).toEqual({ n: MESSAGES, cents: (MESSAGES * (MESSAGES - 1)) / 2 })
    for (const child of children) child.kill('SIGKILL')
    await binder.close()
    await database.drop()
  })
})
