import type { PGlite } from '@electric-sql/pglite'
import { createMembership, createSharedState } from 'concordat/cluster'
import type { SqlClient } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresLocks, postgresStateStore } from 'concordat/postgres'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FakeClock } from '../../support/locks/fake-clock.ts'
import { freshPglite } from '../../support/pglite.ts'

const failing = (error: Error): SqlClient => ({
  query: () => Promise.reject(error),
  transaction: () => Promise.reject(error),
})
const withCode = (code: string): Error => Object.assign(new Error(`it failed with ${code}`), { code })

describe('a PostgreSQL that fails calls of locks', () => {
  it('is unavailable and did nothing, when nothing listens at its address', async () => {
    const pool = new pg.Pool({ connectionString: 'postgres://127.0.0.1:1/nowhere', connectionTimeoutMillis: 5_000 })
    const locks = postgresLocks({ sql: pgClient(pool) })
    expect(locks.health()).toMatchObject({ status: 'idle' })
    await expect(locks.tryAcquire('k')).rejects.toMatchObject({
      code: 'locks.store_unavailable',
      store: 'postgres',
      outcome: 'not_done',
    })
    expect(locks.health()).toMatchObject({ status: 'down' })
    await locks.close()
    await pool.end()
  })

  it.each([
    ['40001', 'locks.store_unavailable', 'not_done'],
    ['53300', 'locks.store_unavailable', 'not_done'],
    ['57014', 'locks.store_unavailable', 'not_done'],
    ['25006', 'locks.store_unavailable', 'not_done'],
    ['57P01', 'locks.store_unavailable', 'unknown'],
    ['08006', 'locks.store_unavailable', 'unknown'],
    ['EPIPE', 'locks.store_unavailable', 'unknown'],
    ['42501', 'locks.store_refused', undefined],
    ['22021', 'locks.store_refused', undefined],
  ])('with %s: %s, outcome %s', async (code, expected, outcome) => {
    const locks = postgresLocks({ sql: failing(withCode(code)) })
    const error = await locks.tryAcquire('k').catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: expected, ...(outcome === undefined ? {} : { outcome }) })
    await locks.close()
  })

  it('is not down while other transactions are in the way of each call, as it answers', async () => {
    const clock = new FakeClock()
    let error: Error | undefined
    const rows = [{ status: 'granted', token: '1', calls: [] }]
    const query = (): Promise<unknown> => (error === undefined ? Promise.resolve({ rows }) : Promise.reject(error))
    const locks = postgresLocks({ sql: { ...failing(withCode('40001')), query } as unknown as SqlClient, clock })
    const store = postgresStateStore({ sql: { ...failing(withCode('40001')), query } as unknown as SqlClient, clock })
    await locks.inspect('k').catch(() => undefined)
    error = withCode('40001')
    const refused = locks.tryAcquire('k').catch((caught: unknown) => caught)
    const read = store.members('c').catch((caught: unknown) => caught)
    for (let n = 0; n < 30; n++) await clock.advance(1_000)
    expect(await refused).toMatchObject({ code: 'locks.store_unavailable', outcome: 'not_done' })
    expect(await read).toMatchObject({ code: 'cluster.store_unavailable' })
    expect(locks.health().status).not.toBe('down')
    expect(store.health().status).not.toBe('down')
    await locks.close()
    await store.close()
  })

  it('a server that does not answer is given up after answerMs, and pending calls end with close()', async () => {
    const silent: SqlClient = { query: () => new Promise(() => {}), transaction: () => new Promise(() => {}) }
    const impatient = postgresLocks({ sql: silent, answerMs: 20 })
    await expect(impatient.tryAcquire('k')).rejects.toMatchObject({ outcome: 'unknown' })
    await impatient.close()
    const store = postgresStateStore({ sql: silent, answerMs: 60_000 })
    const reading = store.members('c')
    await store.close()
    await expect(reading).rejects.toMatchObject({ code: 'cluster.store_unavailable' })
  })
})

describe('names of any kind in PostgreSQL', () => {
  let database: PGlite
  let sql: SqlClient
  beforeAll(async () => {
    database = freshPglite()
    sql = pgliteClient(database)
    await postgresLocks({ sql }).migrate()
    await postgresStateStore({ sql }).migrate()
  }, 120_000)
  afterAll(() => database.close())

  const names = [
    '\0',
    '\u0001',
    'a\0b',
    'a\u0001b',
    'a\u0001\u0001b',
    'a\u0001\u0002b',
    "'; DROP TABLE x --",
    '%_\\',
    'ü😀',
  ]

  it('are keys and owners of locks, each its own', async () => {
    const locks = postgresLocks({ sql, owner: 'o\0wner' })
    const leases = await Promise.all(names.map((key) => locks.tryAcquire(key)))
    expect(leases.map((lease) => lease?.key)).toEqual(names)
    expect((await locks.inspect('\0'))?.holders).toMatchObject([{ owner: 'o\0wner' }])
    const listed = await locks.list({ prefix: 'a' })
    expect(listed.map(({ key }) => key).toSorted()).toEqual(names.filter((key) => key.startsWith('a')).toSorted())
    expect(await locks.list({ prefix: 'a\0' })).toMatchObject([{ key: 'a\0b' }])
    const forced = await locks.forceRelease('a\0b', { by: 'a\0da', reason: '\u0001' })
    expect(forced.ended).toMatchObject([{ owner: 'o\0wner' }])
    expect(await locks.audit('a\0b')).toEqual([forced])
    await expect(locks.tryAcquire('k'.repeat(1_025))).rejects.toMatchObject({ code: 'locks.store_refused' })
    expect(locks.health()).toMatchObject({ status: 'up' })
    await (await locks.acquire('ü'.repeat(512))).release()
    await locks.close()
  })

  it('of a lease that ended are gone for the next beat of its client', async () => {
    const locks = postgresLocks({ sql })
    for (const mode of ['exclusive', 'shared'] as const) {
      await locks.acquire(`ended-${mode}`, { mode, ttlMs: 30_000 })
      const beat = async (): Promise<readonly object[]> => {
        const { rows } = await sql.query<{ news: string; granted: string | null }>(
          `SELECT news, granted::text AS granted FROM concordat.lock_beat('c', false, NULL, 1000,
             ARRAY[$1], ARRAY[coalesce((SELECT value FROM concordat.lock_key WHERE key = $1), (SELECT value FROM concordat.lock_holder WHERE key = $1))])`,
          [`ended-${mode}`],
        )
        return rows
      }
      expect(await beat()).toMatchObject([{ news: 'given' }])
      for (const table of ['lock_key', 'lock_holder'])
        await sql.query(`UPDATE concordat.${table} SET frees_us = 1 WHERE key = $1`, [`ended-${mode}`])
      expect(await beat()).toEqual([{ news: 'gone', granted: null }])
    }
    await locks.close()
  })

  it('are clusters, states, keys and instances', async () => {
    const store = postgresStateStore({ sql })
    for (const name of names) {
      const state = createSharedState<string>({ store, name, cluster: `c${name}` })
      const membership = createMembership({ store, cluster: `c${name}`, service: name, instance: name })
      const { instance, generation } = await membership.join()
      for (const key of names) await state.put(key, key, { boundTo: { instance, generation } })
      const { entries } = await state.entries()
      expect(new Map(entries.map(({ key, value }) => [key, value]))).toEqual(new Map(names.map((key) => [key, key])))
      expect(membership.members()).toMatchObject([{ instance: name, service: name }])
      await membership.leave()
      expect((await state.entries()).entries).toEqual([])
      await state.close()
      await membership.close()
    }
    await store.close()
  })
})
