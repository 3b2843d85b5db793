import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import type { ShardedCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { moves } from './support/moves.ts'

const PROGRAM = fileURLToPath(new URL('./support/shards-process.ts', import.meta.url))
const LEASE_MS = 1_500
const NAMES = ['a', 'b', 'c'] as const
const PATIENCE = { timeoutMs: 60_000 }
const input = { n: 1 }

describeWith(['postgres'], 'sagas over databases of one PostgreSQL', () => {
  let admin: pg.Client
  let count = 0
  let urls: Record<string, string> = {}
  let databases: Record<string, string> = {}
  const pools: pg.Pool[] = []
  const open: ShardedCoordinator[] = []

  beforeAll(async () => {
    admin = new pg.Client({ connectionString: serverUrl('postgres') ?? '' })
    await admin.connect()
  })
  afterAll(() => admin.end())

  beforeEach(async () => {
    const run = `shards_${process.pid}_${++count}`
    for (const name of NAMES) {
      const database = `${run}_${name}`
      await admin.query(`CREATE DATABASE ${database}`)
      const url = new URL(serverUrl('postgres') ?? '')
      url.pathname = `/${database}`
      urls = { ...urls, [name]: url.href }
      databases = { ...databases, [name]: database }
      const sql = clientOf(name)
      await sql.query('CREATE TABLE effects (key text, instance text)')
      await createOutbox({ sql, service: `moves-${name}` }).migrate()
    }
  })
  afterEach(async () => {
    for (const coordinator of open.splice(0)) await coordinator.close()
    for (const pool of pools.splice(0)) await pool.end()
    for (const database of Object.values(databases)) {
      await admin.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true`)
      await admin.query(`DROP DATABASE ${database} WITH (FORCE)`)
    }
  })

  function clientOf(name: string): SqlClient {
    const pool = new pg.Pool({ connectionString: urls[name] ?? '', max: 8 })
    pool.on('error', () => {})
    pools.push(pool)
    return pgClient(pool)
  }

  /** Joins as a process of its own, as far as databases can tell. */
  function join(instance: string, names: readonly string[] = ['a', 'b']) {
    const sql = Object.fromEntries(names.map((name) => [name, clientOf(name)]))
    const joined = moves({ sql, instance, leaseMs: LEASE_MS })
    open.push(joined.coordinator)
    return joined
  }

  async function rowsOf<Row extends object>(name: string, text: string): Promise<readonly Row[]> {
    const client = new pg.Client({ connectionString: urls[name] ?? '' })
    await client.connect()
    const { rows } = await client.query<Row>(text)
    await client.end()
    return rows
  }

  const idsOn = async (coordinator: ShardedCoordinator, shard: string, ids: readonly string[]): Promise<string[]> => {
    const places = await Promise.all(ids.map((id) => coordinator.shardOf({ saga: 'move', id })))
    return ids.filter((_, index) => places[index] === shard)
  }

  /** Database of each id, over all databases. */
  async function held(): Promise<string[]> {
    const all = await Promise.all(
      NAMES.map(async (name) => {
        const there = await rowsOf<{ ok: boolean }>(name, `SELECT to_regclass('concordat.saga') IS NOT NULL AS ok`)
        return there[0]?.ok === true ? rowsOf<{ id: string }>(name, 'SELECT id FROM concordat.saga') : []
      }),
    )
    return all.flat().map(({ id }) => id)
  }

  test('the sagas of a killed process on both shards are taken over, and each effect is made once', async () => {
    const { coordinator, move } = join('local')
    await coordinator.migrate()
    const ids = Array.from({ length: 8 }, (_, n) => `k-${n}`)
    const job = JSON.stringify({
      urls: { a: urls['a'], b: urls['b'] },
      instance: 'killed',
      leaseMs: LEASE_MS,
      start: ids,
    })
    const child = spawn(process.execPath, ['--conditions=concordat-source', PROGRAM, job], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const lines: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
    await until('all hang', () => ids.every((id) => lines.includes(`in-slow ${id}`)))
    child.kill('SIGKILL')
    await once(child, 'exit')
    await coordinator.run()
    for (const id of ids) expect((await coordinator.get(move, id).outcome(PATIENCE)).status).toBe('completed')
    for (const shard of ['a', 'b']) {
      const own = await idsOn(coordinator, shard, ids)
      expect(own.length).toBeGreaterThan(0)
      const effects = await rowsOf<{ key: string }>(shard, 'SELECT key FROM effects')
      const expected = own.flatMap((id) => [`move/${id}/open`, `move/${id}/slow`])
      expect(effects.map(({ key }) => key).toSorted()).toEqual(expected.toSorted())
    }
  })

  test('an unavailable database delays none of the sagas on the other, and its own continue when it is back', async () => {
    const { coordinator, move } = join('local')
    await coordinator.migrate()
    await coordinator.run()
    const ids = Array.from({ length: 20 }, (_, n) => `w-${n}`)
    const [onA, onB] = [await idsOn(coordinator, 'a', ids), await idsOn(coordinator, 'b', ids)]
    await admin.query(`ALTER DATABASE ${databases['b']} ALLOW_CONNECTIONS false`)
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [databases['b']])

    for (const id of onA) {
      const run = await coordinator.start(move, { id, input })
      expect((await run.outcome(PATIENCE)).status).toBe('completed')
    }
    for (const id of onB) await expect(coordinator.start(move, { id, input })).rejects.toThrow()
    await until('its health says so', () => coordinator.health().status === 'degraded')
    expect(coordinator.health().shards).toMatchObject({ a: { status: 'up' }, b: { status: 'down' } })
    await expect(coordinator.list()).rejects.toThrow()

    // A process that starts during this time drives the stored saga.
    const other = join('other')
    await other.coordinator.run()
    expect(other.coordinator.health()).toMatchObject({ status: 'degraded', shards: { b: { status: 'down' } } })
    const late = (await idsOn(other.coordinator, 'a', onA))[0] ?? ''
    expect((await other.coordinator.get(other.move, late).outcome(PATIENCE)).status).toBe('completed')

    await admin.query(`ALTER DATABASE ${databases['b']} ALLOW_CONNECTIONS true`)
    await until('both are up', () => [coordinator, other.coordinator].every((each) => each.health().status === 'up'))
    for (const id of onB) {
      const run = await other.coordinator.start(other.move, { id, input })
      expect((await run.outcome(PATIENCE)).status).toBe('completed')
    }
    expect((await held()).toSorted()).toEqual(ids.toSorted())
  })

  test('a shard that is added during starts from two processes doubles none', async () => {
    const two = join('two')
    await two.coordinator.migrate()
    const [one, other] = [join('one', NAMES), join('other', NAMES)]
    await one.coordinator.migrate()
    await Promise.all([one.coordinator.run(), other.coordinator.run()])
    expect(other.coordinator.health().takes).toEqual(['a', 'b'])
    const during = Array.from({ length: 240 }, (_, n) => `r-${n}`)
    const after = Array.from({ length: 60 }, (_, n) => `s-${n}`)
    const ids = [...during, ...after]
    let begun = 0
    let change: Promise<void> | undefined
    const startAll = async ({ coordinator, move }: typeof one, order: readonly string[]): Promise<void> => {
      for (let from = 0; from < order.length; from += 20) {
        if (from === during.length) await change
        await Promise.all(
          order.slice(from, from + 20).map(async (id) => {
            if (++begun > 100) change ??= one.coordinator.useShards(NAMES)
            await coordinator.start(move, { id, input })
          }),
        )
      }
    }
    await Promise.all([startAll(one, ids), startAll(other, [...during.toReversed(), ...after.toReversed()])])
    await change
    expect((await held()).toSorted()).toEqual(ids.toSorted())
    const onC = await rowsOf('c', 'SELECT id FROM concordat.saga')
    expect(onC.length).toBeGreaterThan(10)
    for (const id of ids)
      expect((await other.coordinator.get(other.move, id).outcome(PATIENCE)).status).toBe('completed')
    const effects = await Promise.all(NAMES.map((name) => rowsOf<{ key: string }>(name, 'SELECT key FROM effects')))
    expect(
      effects
        .flat()
        .map(({ key }) => key)
        .toSorted(),
    ).toEqual(ids.flatMap((id) => [`move/${id}/open`, `move/${id}/slow`]).toSorted())
  })

  test('an open transaction that starts a saga is waited for before the layout changes', async () => {
    const first = join('one')
    await first.coordinator.migrate()
    const { coordinator, move } = join('all', NAMES)
    await coordinator.migrate()
    await coordinator.run()
    const ids = Array.from({ length: 40 }, (_, n) => `t-${n}`)
    const [id = ''] = await idsOn(coordinator, 'a', ids)
    let change: Promise<void> | undefined
    const order: string[] = []
    await clientOf('a').transaction(async (tx) => {
      await coordinator.start(tx, move, { id, input })
      change = coordinator.useShards(NAMES).then(() => void order.push('changed'))
      await until('the change waits', async () => {
        const waiting = await rowsOf('a', `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)
        return waiting.length > 0
      })
      order.push('committing')
    })
    await change
    expect(order).toEqual(['committing', 'changed'])
    await coordinator.start(move, { id, input })
    expect(await held()).toEqual([id])
  })

  test('a transaction under REPEATABLE READ whose snapshot is from before the change is refused', async () => {
    const first = join('one')
    await first.coordinator.migrate()
    const { coordinator } = join('all', NAMES)
    await coordinator.migrate()
    await coordinator.run()
    const stale = join('stale', NAMES)
    await stale.coordinator.run()
    const ids = Array.from({ length: 40 }, (_, n) => `s-${n}`)
    const [id = ''] = await idsOn(stale.coordinator, 'a', ids)
    const started = clientOf('a').transaction(async (tx) => {
      await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')
      await tx.query('SELECT 1 FROM concordat.saga LIMIT 1')
      await coordinator.useShards(NAMES)
      await stale.coordinator.start(tx, stale.move, { id, input })
    })
    await expect(started).rejects.toMatchObject({ code: '40001' })
    expect(await held()).toEqual([])
  })
})
