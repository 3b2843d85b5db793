import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { createSharedState } from 'concordat/cluster'
import { migrate, SqlError, silentLogger } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { createFence } from 'concordat/locks'
import { memoryTransport } from 'concordat/memory'
import { printGrants, printMigrations } from 'concordat/operator'
import { createInbox, createOutbox, createRelay } from 'concordat/outbox'
import { postgresLocks, postgresStateStore } from 'concordat/postgres'
import { defineSaga, migrateParticipant, participant, sagaReplies } from 'concordat/saga'
import { createCoordinator } from 'concordat/saga/coordinator'
import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the console
import { problemOf } from '../../packages/console/problem.ts'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'
import { until } from '../support/until.ts'
import { ranHere } from './support/cli.ts'

const commands = defineChannel('payments.commands', { payload: z.object({ cents: z.number() }) })
const receipt = defineChannel('payments.receipt', { payload: z.object({ cents: z.number() }) })
const buy = defineSaga('buy', { version: 1, input: z.object({ cents: z.number() }) }).command('charge', {
  to: commands,
  request: ({ input }) => ({ cents: input.cents }),
  reply: z.object({ paid: z.number() }),
  compensate: true,
})

describeWith(['postgres'], 'a role with the printed grants', () => {
  let database: TestDatabase
  let pool: pg.Pool
  const role = `least_${process.pid}`
  /** Runs a service in its own schema, without rights on `concordat`. */
  const stranger = `stranger_${process.pid}`
  let strangers: pg.Pool

  beforeAll(async () => {
    database = await createDatabase()
    await database.pool.query(`CREATE ROLE ${role} LOGIN PASSWORD 'least'`)
    await database.pool.query(printMigrations({ partitions: 2 }))
    await database.pool.query(printGrants({ role }))
    const url = new URL(database.url)
    url.username = role
    url.password = 'least'
    pool = new pg.Pool({ connectionString: url.href, max: 10 })
    await database.pool.query(`CREATE ROLE ${stranger} LOGIN PASSWORD 'least'`)
    url.username = stranger
    strangers = new pg.Pool({ connectionString: url.href, max: 2 })
  })
  afterAll(async () => {
    await pool.end()
    await strangers.end()
    for (const each of [role, stranger]) {
      await database.pool.query(`DROP OWNED BY ${each}`)
      await database.pool.query(`DROP ROLE ${each}`)
    }
    await database.drop()
  })

  test('may create nothing', async () => {
    await expect(pool.query('CREATE SCHEMA mine')).rejects.toMatchObject({ code: '42501' })
    await expect(pool.query('CREATE TABLE concordat.mine (n int)')).rejects.toMatchObject({ code: '42501' })
    await expect(pool.query(`INSERT INTO concordat.concordat_migration VALUES ('outbox', 9)`)).rejects.toMatchObject({
      code: '42501',
    })
  })

  test('is told to a role that only reads, by commands and by the console', async () => {
    onTestFinished(async () => {
      await database.pool.query(`REVOKE ALL ON SCHEMA concordat FROM ${stranger}`)
      await database.pool.query(`REVOKE ALL ON ALL TABLES IN SCHEMA concordat FROM ${stranger}`)
    })
    await database.pool.query(`GRANT USAGE ON SCHEMA concordat TO ${stranger}`)
    await database.pool.query(`GRANT SELECT ON ALL TABLES IN SCHEMA concordat TO ${stranger}`)
    const url = new URL(database.url)
    url.username = stranger
    const remedy = `npx concordat migrate grants --role ${stranger} --schema concordat`
    for (const args of [
      ['locks', 'release', 'k', '--reason', 'r', '--yes'],
      ['dlq', 'redrive', 'orders', 'stock', '--reason', 'r', '--dry-run'],
    ]) {
      const { code, stderr } = await ranHere(args, { CONCORDAT_POSTGRES: url.href })
      expect(code).toBe(1)
      expect(stderr).toContain(`the role "${stranger}" lacks `)
      expect(stderr).toContain(remedy)
    }
    const operator = createOperator({ sql: pgClient(strangers) })
    const refused = await operator.locks.release('k', { by: 'ada', reason: 'r' }).catch((error: unknown) => error)
    expect(problemOf(refused, silentLogger)).toMatchObject({
      code: 'console.rights',
      message: expect.stringContaining('npx concordat doctor'),
    })
  })

  test('cannot migrate, and hears which rights that takes', async () => {
    const sql = pgClient(pool)
    const [next, name] = [
      [{ version: 2, statements: ['ALTER TABLE {schema}.inbox ADD n int'] }],
      new URL(database.url).pathname,
    ]
    await database.pool.query(`CREATE SCHEMA "of ""another"`)
    const refused = async (work: Promise<unknown>, schema: string, part: string, lacking: readonly string[]) => {
      const error: unknown = await work.catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'core.rights_missing', schema, part, role, lacking })
      expect((error as Error).message).toContain(`the role "${role}" lacks ${lacking.join(', ')}: as the owner of `)
      expect((error as Error).message).toContain('npx concordat migrate apply ')
    }
    const inNone = createInbox({ sql, schema: 'none' })
    await refused(inNone.migrate(), 'none', 'inbox', [`CREATE on database ${name.slice(1)}`])
    const operator = createOperator({ sql, schema: 'of "another' })
    const rights = ['USAGE on schema of "another', 'CREATE on schema of "another']
    await refused(operator.migrate({ by: 'ada', reason: 'first', parts: ['saga'] }), 'of "another', 'saga', rights)
    await refused(migrate(sql, 'concordat', 'inbox', next), 'concordat', 'inbox', [
      'CREATE on schema concordat',
      'ownership of concordat_migration',
    ])
  })

  test('is enough for the doctor, who says what another role lacks and how to give it', async () => {
    const operator = createOperator({ sql: pgClient(pool) })
    const rights = async () => (await operator.doctor()).lines.find(({ check }) => check === 'rights')
    expect(await rights()).toMatchObject({ status: 'ok' })
    await database.pool.query(`REVOKE DELETE ON concordat.outbox FROM ${role}`)
    const line = await rights()
    expect(line).toMatchObject({ status: 'fail', text: `the role "${role}" lacks DELETE on outbox` })
    const { message } = new SqlError('core.rights_missing', {
      schema: 'concordat',
      role,
      lacking: ['DELETE on outbox'],
    })
    expect(`${line?.text}: ${line?.remedy}`).toBe(message)
    await database.pool.query(printGrants({ role }))
    expect(await rights()).toMatchObject({ status: 'ok' })
  })

  test.for(['concordat', 'other'])(
    'looks at no log of other services, which is in the schema %s',
    async (log, { expect }) => {
      const [outboxOnly, own] = [['outbox' as const], `own_${log}`]
      await database.pool.query(`DROP SCHEMA IF EXISTS ${own} CASCADE; DROP SCHEMA IF EXISTS other CASCADE`)
      await database.pool.query(printMigrations({ schema: own, parts: outboxOnly }))
      await database.pool.query(printGrants({ schema: own, role: stranger }))
      if (log === 'other') await database.pool.query(printMigrations({ schema: 'other', parts: ['transport'] }))
      const operator = createOperator({ sql: pgClient(strangers), schema: own })
      expect(await operator.groups()).toEqual([])
      const { lines } = await operator.doctor()
      expect(lines.filter(({ check }) => check === 'groups')).toMatchObject([
        { status: 'unknown', text: expect.stringMatching(/^no log of this database is open to this role/) },
      ])
      await expect(operator.letters.lag({ channel: 'orders', group: 'stock' })).rejects.toMatchObject({
        code: 'operate.transport_missing',
      })
    },
  )

  test('migrates, which finds nothing to do, and runs outbox, inbox, saga, participant and fence', async () => {
    const sql = pgClient(pool)
    const outbox = createOutbox({ sql, service: 'shop', partitions: 2 })
    const inbox = createInbox({ sql, outbox })
    const fence = createFence({ sql })
    const coordinator = createCoordinator({ service: 'shop', sql, outbox, sagas: [buy] })
    await Promise.all([
      outbox.migrate(),
      inbox.migrate(),
      fence.migrate(),
      coordinator.migrate(),
      migrateParticipant(sql),
    ])
    const received: number[] = []
    const payments = participant(
      commands,
      { group: 'payments', sql, outbox },
      {
        invoke: async ({ cents }, { tx }) => {
          await fence.check(tx, 'ledger', 1)
          await outbox.add(tx, receipt, { cents })
          return { paid: cents }
        },
        compensate: async () => {},
      },
    )
    const receipts = sink(receipt, { group: 'mail', inbox }, ({ cents }) => void received.push(cents))
    const binder = createBinder({
      service: 'shop',
      transport: memoryTransport(),
      bindings: [payments, receipts, ...coordinator.bindings],
      sends: [...coordinator.channels, sagaReplies('shop'), receipt],
    })
    const relay = createRelay({ outbox, publisher: binder })
    await binder.start()
    await relay.start()
    await coordinator.run()
    const run = await coordinator.start(buy, { id: 'o-1', input: { cents: 500 } })
    expect(await run.outcome()).toMatchObject({ status: 'completed', results: { charge: { paid: 500 } } })
    await until('the receipt came', () => received.length === 1)
    await inbox.sweep()
    expect(received).toEqual([500])
    await coordinator.close()
    await relay.close()
    await binder.close()
  })

  test('takes locks, commits under them, and shares state', async () => {
    const sql = pgClient(pool)
    const locks = postgresLocks({ sql })
    const store = postgresStateStore({ sql })
    await Promise.all([locks.migrate(), store.migrate()])
    const state = createSharedState<number>({ store, name: 's' })
    await locks.transaction('k', {}, async (_tx, lease) => {
      await state.put('token', lease.token)
      await locks.forceRelease('other', { by: 'ada', reason: 'to see' })
    })
    expect(await state.get('token')).toMatchObject({ value: expect.any(Number) })
    expect(await locks.audit('other')).toHaveLength(1)
    await state.close()
    await store.close()
    await locks.close()
  })
})
