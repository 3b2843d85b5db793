import { randomUUID } from 'node:crypto'
import { pgClient } from 'concordat/core/pg'
import { createFence } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { expectWithin } from '../support/expect-within.ts'
import { WorkerProcess } from '../support/locks/worker-process.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

const TTL_MS = 1_500

function setup(postgres: boolean) {
  const redisUrl = serverUrl('redis') as string
  const postgresUrl = postgres ? (serverUrl('postgres') as string) : ''
  const prefix = `test-${randomUUID()}:`
  const schema = `t_${randomUUID().replaceAll('-', '')}`
  const locks = redisLocks({ url: redisUrl, prefix })
  const workers: WorkerProcess[] = []
  const worker = async (): Promise<WorkerProcess> => {
    const started = new WorkerProcess(redisUrl, prefix, '1000', postgresUrl, schema)
    workers.push(started)
    await started.report('ready')
    return started
  }
  const inLine = (key: string, count: number): Promise<void> =>
    until(`${count} wait`, async () => (await locks.inspect(key))?.waiters.length === count)
  const close = async (): Promise<string[]> => {
    await Promise.all(workers.map((each) => each.kill()))
    await locks.close()
    const client = new Redis(redisUrl)
    const left = await client.keys(`${prefix}*`)
    if (left.length > 0) await client.del(left)
    client.disconnect()
    return left
  }
  return { locks, worker, inLine, close, schema, postgresUrl }
}

describeWith(['redis'], 'lock holders and waiters as processes', () => {
  let context: ReturnType<typeof setup>
  beforeEach(() => {
    context = setup(false)
  })
  afterEach(async () => {
    await context.close()
  })

  it('a killed holder is replaced within its ttl', async () => {
    const { locks, worker, inLine } = context
    const holder = await worker()
    holder.order({ do: 'acquire', key: 'k', ttlMs: TTL_MS })
    const { token } = await holder.report('acquired')
    const acquiring = locks.acquire('k', { waitMs: 30_000 })
    await inLine('k', 1)
    const killedAt = await holder.kill()
    const lease = await acquiring
    const tookMs = performance.timeOrigin + performance.now() - killedAt
    console.log(`  hand-over after kill -9: ${tookMs.toFixed(0)} ms, ttl ${TTL_MS} ms`)
    await expectWithin(tookMs, TTL_MS + 1_000)
    expect(lease.token).toBeGreaterThan(token as number)
  })

  it('a killed holder with a lock delay is replaced after its ttl and the delay, not before', async () => {
    const { locks, worker, inLine } = context
    const holder = await worker()
    holder.order({ do: 'acquire', key: 'k', ttlMs: TTL_MS, lockDelayMs: 1_000 })
    const { at } = await holder.report('acquired')
    const acquiring = locks.acquire('k', { waitMs: 30_000 })
    await inLine('k', 1)
    await holder.kill()
    await acquiring
    const tookMs = performance.timeOrigin + performance.now() - at
    expect(tookMs).toBeGreaterThan(TTL_MS + 900)
    await expectWithin(tookMs, TTL_MS + 2_000)
  })

  it('killed holders of permits make room one by one as they expire', async () => {
    const { locks, worker, inLine } = context
    const holders = [await worker(), await worker()]
    for (const [n, holder] of holders.entries()) {
      holder.order({ do: 'acquire', key: 'k', ttlMs: n === 0 ? 2_000 : 5_000, permits: 2 })
      await holder.report('acquired')
    }
    const waiting = locks.acquire('k', { permits: 2, waitMs: 30_000 })
    await inLine('k', 1)
    const alone = locks.acquire('k', { waitMs: 30_000 })
    await inLine('k', 2)
    await Promise.all(holders.map((holder) => holder.kill()))
    const permitted = await waiting
    expect((await locks.inspect('k'))?.holders).toHaveLength(2)
    await permitted.release()
    await alone
    expect((await locks.inspect('k'))?.holders).toMatchObject([{ mode: 'exclusive' }])
  })

  it('a killed writer at the head of the queue does not block the readers behind it', async () => {
    const { locks, worker, inLine } = context
    const reading = await locks.acquire('k', { mode: 'shared', ttlMs: 60_000 })
    const writer = await worker()
    writer.order({ do: 'acquire', key: 'k', ttlMs: TTL_MS })
    await inLine('k', 1)
    const reader = locks.acquire('k', { mode: 'shared', waitMs: 30_000 })
    await inLine('k', 2)
    const killedAt = await writer.kill()
    await reader
    await expectWithin(performance.timeOrigin + performance.now() - killedAt, 2_500)
    reading.assertValid()
  })

  it('a killed waiter is skipped at the next release, not after its heartbeat', async () => {
    const { locks, worker, inLine } = context
    const holder = await locks.acquire('k', { ttlMs: 60_000 })
    const dead = await worker()
    dead.order({ do: 'acquire', key: 'k', ttlMs: TTL_MS })
    await inLine('k', 1)
    const next = await worker()
    next.order({ do: 'acquire', key: 'k', ttlMs: TTL_MS })
    await inLine('k', 2)
    await dead.kill()
    const releasedAt = performance.timeOrigin + performance.now()
    await holder.release()
    const { at } = await next.report('acquired')
    expect(at - releasedAt).toBeLessThan(2_500)
  })
})

describeWith(['redis', 'postgres'], 'a holder that was stopped for longer than its ttl', () => {
  let context: ReturnType<typeof setup>
  let pool: pg.Pool
  beforeEach(async () => {
    context = setup(true)
    pool = new pg.Pool({ connectionString: context.postgresUrl })
    const sql = pgClient(pool)
    await createFence({ sql, schema: context.schema }).migrate()
    await sql.query(`CREATE TABLE "${context.schema}".ledger (id serial, token bigint, text text)`)
  })
  afterEach(async () => {
    await context.close()
    await pool.query(`DROP SCHEMA "${context.schema}" CASCADE`)
    await pool.end()
  })

  /** The first worker is stopped inside its section; the second takes over and writes; the first wakes up. */
  async function overtaken() {
    const [stopped, successor] = [await context.worker(), await context.worker()]
    stopped.order({ do: 'acquire', key: 'ledger', ttlMs: TTL_MS })
    await stopped.report('acquired')
    stopped.order({ do: 'write', text: 'in time', check: true })
    await stopped.report('wrote')
    successor.order({ do: 'acquire', key: 'ledger', ttlMs: TTL_MS })
    await context.inLine('ledger', 1)
    stopped.signal('SIGSTOP')
    await successor.report('acquired')
    successor.order({ do: 'write', text: 'successor', check: true })
    await successor.report('wrote')
    return { stopped, successor }
  }

  const ledger = async (): Promise<string[]> => {
    const { rows } = await pool.query<{ text: string }>(`SELECT text FROM "${context.schema}".ledger ORDER BY id`)
    return rows.map((row) => row.text)
  }

  describe('wakes up and writes at once', () => {
    it('without a check of its lease: the fence refuses the write', async () => {
      const { stopped, successor } = await overtaken()
      stopped.order({ do: 'write', text: 'too late', check: false })
      stopped.signal('SIGCONT')
      expect(await stopped.report('failed')).toMatchObject({ code: 'locks.fence_rejected' })
      successor.order({ do: 'write', text: 'successor again', check: true })
      await successor.report('wrote')
      expect(await ledger()).toEqual(['in time', 'successor', 'successor again'])
    })

    it('asking its lease: assertValid refuses', async () => {
      const { stopped } = await overtaken()
      stopped.order({ do: 'write', text: 'too late', check: true })
      stopped.signal('SIGCONT')
      expect(await stopped.report('failed')).toMatchObject({ code: 'locks.lost' })
      expect(await ledger()).toEqual(['in time', 'successor'])
    })
  })
})
