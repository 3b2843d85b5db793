import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import { hasCode } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createFence, leaseFromHeaders } from 'concordat/locks'
import { createInbox } from 'concordat/outbox'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { z } from 'zod'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import type { HolderOptions, HolderReport } from './support/holder-process.ts'

const TTL_MS = 3_000

describeWith(['redis', 'postgres', 'rabbitmq'], 'a holder that is stopped between its lock and its message', () => {
  const id = randomUUID().replaceAll('-', '')
  const schema = `fenced_${id}`
  const prefix = `test-${id}:`
  const channel = `fenced.${id}`
  let pool: pg.Pool
  let client: Redis
  let children: ChildProcess[]

  beforeEach(async () => {
    children = []
    client = new Redis(serverUrl('redis') as string)
    pool = new pg.Pool({ connectionString: serverUrl('postgres') as string, max: 3 })
    const sql = pgClient(pool)
    await createFence({ sql, schema }).migrate()
    await createInbox({ sql, schema }).migrate()
    await pool.query(`CREATE TABLE "${schema}".ledger (n bigserial, text text, token bigint)`)
  })
  afterEach(async () => {
    for (const child of children) child.kill('SIGKILL')
    await pool.query(`DROP SCHEMA "${schema}" CASCADE`)
    await pool.end()
    const keys = await client.keys(`${prefix}*`)
    if (keys.length > 0) await client.del(keys)
    client.disconnect()
  })

  function holder(name: string) {
    const options: HolderOptions = {
      redisUrl: serverUrl('redis') as string,
      rabbitUrl: serverUrl('rabbitmq') as string,
      key: 'ledger',
      ttlMs: TTL_MS,
      prefix,
      channel,
      name,
    }
    const script = fileURLToPath(new URL('./support/holder-process.ts', import.meta.url))
    const child = fork(script, [JSON.stringify(options)], { execArgv: ['--conditions=concordat-source'] })
    children.push(child)
    const reports: HolderReport[] = []
    child.on('message', (report) => reports.push(report as HolderReport))
    const did = (what: HolderReport): Promise<void> =>
      until(`${name} ${what}`, () => {
        if (child.exitCode !== null && child.exitCode > 0) throw new Error(`${name} failed, see its output above`)
        return reports.includes(what)
      })
    return { child, did }
  }

  it('is refused at the data when its message comes, because the token in the header is an old one', async () => {
    const sql = pgClient(pool)
    const fence = createFence({ sql, schema })
    const writes = defineChannel(channel, { payload: z.object({ text: z.string() }), partitions: 1 })
    const refused: string[] = []
    const apply = sink(
      writes,
      { group: 'ledger', inbox: createInbox({ sql, schema }), retryable: (e) => !hasCode(e, 'locks.fence_rejected') },
      async ({ text }, { tx, headers }) => {
        const lease = leaseFromHeaders(headers)
        if (lease?.key !== 'ledger') throw new Error('not sent under the lock')
        await fence.check(tx, 'ledger', lease.token).catch((error: unknown) => {
          refused.push(text)
          throw error
        })
        await tx.query(`INSERT INTO "${schema}".ledger (text, token) VALUES ($1, $2::bigint)`, [
          text,
          String(lease.token),
        ])
      },
    )
    await using binder = createBinder({
      service: 'ledger',
      transport: rabbitTransport({ url: serverUrl('rabbitmq') as string }),
      bindings: [apply],
    })
    await binder.start()
    const lines = async (): Promise<ReadonlyArray<{ text: string; token: string }>> =>
      (await pool.query(`SELECT text, token::text FROM "${schema}".ledger ORDER BY n`)).rows as never

    const stale = holder('stale')
    await stale.did('held')
    await until('its first line is written', async () => (await lines()).length === 1)
    stale.child.kill('SIGSTOP')
    const young = holder('young')
    await young.did('held')
    await until('the first line of the next is written', async () => (await lines()).length === 2)
    stale.child.send('go on')
    stale.child.kill('SIGCONT')
    await stale.did('sent again')
    await until('the late one is refused', () => refused.length === 1)
    young.child.send('go on')
    await young.did('ended')
    await until('the last line is written', async () => (await lines()).length === 3)

    expect(refused).toEqual(['stale 2'])
    expect((await lines()).map(({ text }) => text)).toEqual(['stale 1', 'young 1', 'young 2'])
    const tokens = (await lines()).map(({ token }) => Number(token))
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b))
    await until('it is a dead letter, after one call', () => binder.bindings()[0]?.deadLettered === 1)
  })
})
