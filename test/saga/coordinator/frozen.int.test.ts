import type { SqlExecutor } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { defineSaga } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { describeWith, startServer } from '../../support/servers/index.ts'
import { gate, until } from '../../support/until.ts'

const SAGAS = 8
const LIMITS = { query_timeout: 1_000, connectionTimeoutMillis: 1_000 }

describeWith(['postgres'], 'a server that freezes', { private: true }, () => {
  test('is noticed by a coordinator whose pool has time limits; when it thaws its sagas end, with each effect once', async () => {
    const server = await startServer('postgres')
    const pool = new pg.Pool({ connectionString: server.url, max: 10, ...LIMITS })
    pool.on('error', () => {})
    const sql = pgClient(pool)
    const open = gate()
    let inSlow = 0
    const write = async (tx: SqlExecutor, key: string): Promise<void> => {
      await tx.query('INSERT INTO effects VALUES ($1)', [key])
    }
    const saga = defineSaga('frozen', { version: 1, input: z.object({}) })
      .step('first', {
        transactional: true,
        invoke: ({ tx, key }) => write(tx, key),
        compensate: ({ tx, key }) => write(tx, `undo ${key}`),
      })
      .step('slow', {
        invoke: async () => {
          inSlow++
          await open.opened
        },
        compensate: 'none',
      })
      .step('last', { transactional: true, pivot: true, invoke: ({ tx, key }) => write(tx, key) })
    const outbox = createOutbox({ sql, service: 'orders' })
    const coordinator = createCoordinator({
      service: 'orders',
      sql,
      outbox,
      sagas: [saga],
      leaseMs: 2_000,
      pollMs: 50,
    })
    try {
      await outbox.migrate()
      await coordinator.migrate()
      await sql.query('CREATE TABLE effects (key text)')
      await coordinator.run()
      const ids = Array.from({ length: SAGAS }, (_, n) => `s${n}`)
      const runs = await Promise.all(ids.map((id) => coordinator.start(saga, { id, input: {} })))
      await until('all are in the middle', () => inSlow >= SAGAS)
      server.pause()
      open.open()
      await expect(coordinator.start(saga, { id: 'while frozen', input: {} })).rejects.toThrow()
      await until('it is seen', () => coordinator.health().status === 'down')
      server.resume()
      const start = (): Promise<unknown> => coordinator.start(saga, { id: 'after', input: {} })
      await until('it takes sagas again', () =>
        start().then(
          () => true,
          () => false,
        ),
      )
      for (const run of [...runs, coordinator.get(saga, 'after')]) {
        expect((await run.outcome({ timeoutMs: 60_000 })).status, run.id).toBe('completed')
      }
      await until('it is up again', () => coordinator.health().status === 'up')
      const { rows } = await sql.query<{ n: number; times: number }>(
        `SELECT count(*)::int AS n, max(times)::int AS times FROM (
           SELECT count(*) AS times FROM effects WHERE key NOT LIKE '%/while frozen/%' GROUP BY key) each`,
      )
      expect(rows).toEqual([{ n: 2 * (SAGAS + 1), times: 1 }])
    } finally {
      server.resume()
      await coordinator.close()
      await pool.end()
      await server.stop()
    }
  })
})
