/** Processes of a pipeline that are killed in the middle of their work, on any broker. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createBinder } from 'concordat/binder'
import { expect, test } from 'vitest'
import { createDatabase } from '../../../outbox/support/postgres.ts'
import { until } from '../../../support/until.ts'
import { transportOn } from './on.ts'
import { channelsOf } from './world.ts'

const FLAGS = ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source']

async function start(env: Record<string, string>): Promise<ChildProcess> {
  const child = spawn(process.execPath, [...FLAGS, 'test/binder/pipeline/support/worker.ts'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

export interface KilledOn {
  readonly on: 'postgres' | 'kafka' | 'rabbitmq'
  readonly url: () => string
  /** 50 messages before each of them. */
  readonly kills: number
}

/** Test that every sale is counted once, and no window stays open. */
export function countsOnce({ on, url, kills }: KilledOn): void {
  // A killed member of a group keeps its partitions for a session, and the next one is let in after that.
  test('have counted each message once, and closed every window', { timeout: 400_000 }, async () => {
    const database = await createDatabase()
    const { sql } = database
    const prefix = `p${Date.now().toString(36)}-`
    const { sold } = channelsOf(prefix)
    const env = { DATABASE_URL: database.url, ON: on, BROKER_URL: url(), PREFIX: prefix }
    await sql.query('CREATE TABLE kept (sku text, count int, cents int)')
    const children = [await start(env), await start(env)]
    const binder = createBinder({ service: `${prefix}till`, transport: transportOn(on, url(), sql), sends: [sold] })
    await binder.start()
    await binder.ready()
    const sum = async () =>
      (
        await sql.query<{ n: number; cents: number }>(
          'SELECT coalesce(sum(count), 0)::int AS n, coalesce(sum(cents), 0)::int AS cents FROM kept',
        )
      ).rows[0]
    const messages = 50 * kills
    for (let n = 0; n < messages; n += 50) {
      const some = Array.from({ length: 50 }, (_, k) => ({ sku: `s${(n + k) % 5}`, cents: n + k }))
      await binder.sendBatch(sold, some, (_, k) => ({ id: `m${n + k}` }))
      await binder.sendBatch(sold, some.slice(0, 20), (_, k) => ({ id: `m${n + k}` }))
      const victim = (n / 50) % 2
      // Kills a worker in the middle of its work.
      await until('some of it is under way', async () => ((await sum())?.n ?? 0) > n / 2, 60_000)
      children[victim]?.kill('SIGKILL')
      children[victim] = await start(env)
    }
    await until('all is counted', async () => ((await sum())?.n ?? 0) >= messages, 120_000)
    await until('no window is open', async () => {
      const { rows } = await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM concordat.pipeline_window')
      return rows[0]?.n === 0
    })
    expect(await sum()).toEqual({ n: messages, cents: (messages * (messages - 1)) / 2 })
    for (const child of children) child.kill('SIGKILL')
    await binder.close()
    await database.drop()
  })
}
