import { createBinder, defineChannel } from 'concordat/binder'
import { pgClient, pgListener } from 'concordat/core/pg'
import { memoryTransport } from 'concordat/memory'
import { createOutbox, createRelay } from 'concordat/outbox'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { describeWith, type PrivateServer, startServer } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { witness } from '../support/witness.ts'

const RIGHT = 'S3CR3T-correct-horse'
const WRONG = 'S3CR3T-hunter2'

describeWith(['postgres'], 'PostgreSQL that asks for a password', { private: true }, () => {
  let server: PrivateServer
  let admin: pg.Client
  beforeAll(async () => {
    server = await startServer('postgres', { settings: { password_encryption: 'scram-sha-256' } })
    admin = new pg.Client({ connectionString: server.url })
    await admin.connect()
    await admin.query(`CREATE ROLE app LOGIN PASSWORD '${RIGHT}'`)
    const { rows } = await admin.query<{ hba_file: string }>('SHOW hba_file')
    const lines = `(VALUES ('host all app 127.0.0.1/32 scram-sha-256'), ('host all postgres 127.0.0.1/32 trust'))`
    await admin.query(`COPY ${lines} TO '${rows[0]?.hba_file}'`)
    await admin.query('SELECT pg_reload_conf()')
  })
  afterAll(async () => {
    await admin?.end()
    await server?.stop()
  })

  const addressOf = (password: string): string => {
    const url = new URL(server.url)
    Object.assign(url, { username: 'app', password })
    return url.href
  }
  const poolOf = (password: string): pg.Pool => {
    const pool = new pg.Pool({ connectionString: addressOf(password), max: 2 })
    onTestFinished(() => pool.end())
    return pool
  }

  it('shows no part of a refused one: a query, a listener, a relay', async () => {
    const { logger, keep, shown } = witness()
    const sql = pgClient(poolOf(WRONG), { logger })
    keep(
      await sql.query('SELECT 1').then(
        () => 'worked',
        (error: unknown) => error,
      ),
    )
    keep(await sql.transaction(async () => 'worked').catch((error: unknown) => error))
    const listener = pgListener({ connect: () => new pg.Client({ connectionString: addressOf(WRONG) }), logger })
    listener.listen('c', () => {})
    const channel = defineChannel('c', { payload: z.object({}) })
    const binder = createBinder({ service: 's', transport: memoryTransport(), bindings: [], logger })
    const outbox = createOutbox({ sql, service: 's' })
    keep(await outbox.migrate().catch((error: unknown) => error))
    keep(await sql.transaction((tx) => outbox.add(tx, channel, {})).catch((error: unknown) => error))
    const relay = createRelay({ outbox, publisher: binder, logger })
    keep(await Promise.resolve(relay.start()).catch((error: unknown) => error))
    await until(
      'the listener and the relay have told',
      () => shown().split('password authentication failed').length > 6,
    )
    keep(relay.health())
    await Promise.all([relay.close(), listener.close(), binder.close()])
    expect(shown()).toContain('LISTEN connection lost')
    expect(shown()).not.toContain('worked')
    expect(shown()).not.toContain(WRONG)
  })

  it('shows no part of the right one when an idle connection dies', async () => {
    const { logger, shown } = witness()
    const sql = pgClient(poolOf(RIGHT), { logger })
    await sql.query('SELECT 1')
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'`)
    await until('it is told', () => shown().includes('idle PostgreSQL connection lost'))
    expect(shown()).not.toContain(RIGHT)
  })
})
