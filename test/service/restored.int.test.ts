/**
 * docs/production/backup.md: a service whose database is replaced by yesterday's, while the broker and the other services'
 * databases continue.
 */

import { createOperator } from '@concordat/cli'
import { defineChannel, sink } from 'concordat/binder'
import { pgClient } from 'concordat/core/pg'
import { createOutbox } from 'concordat/outbox'
import { postgresTransport } from 'concordat/postgres'
import { defineSaga, participant } from 'concordat/saga'
import { createService } from 'concordat/service'
import pg from 'pg'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../outbox/support/messages.ts'
import { createDatabase, type TestDatabase } from '../outbox/support/postgres.ts'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

const Order = z.object({ cents: z.number() })
const charges = defineChannel('charges', { payload: Order, partitions: 1 })
const placed = defineChannel('placed', { payload: z.object({ id: z.string() }), partitions: 1, groups: ['mail'] })
const buy = defineSaga('buy', { version: 1, input: Order })
  .command('charge', {
    to: charges,
    request: ({ input }) => input,
    reply: z.object({ receipt: z.string() }),
    compensate: true,
  })
  .signal('approval', { payload: z.object({}) })
  .step('confirm', { pivot: true, invoke: ({ results }) => results.charge.receipt })

describeWith(['postgres'], 'a service that is started on yesterday’s database', () => {
  let log: TestDatabase
  let others: TestDatabase
  const shopName = uniqueName('t_shop')
  const backupName = uniqueName('t_backup')

  async function run(text: string): Promise<void> {
    const client = new pg.Client({ connectionString: serverUrl('postgres') })
    await client.connect()
    try {
      await client.query(text)
    } finally {
      await client.end()
    }
  }
  const shopUrl = (): string => Object.assign(new URL(serverUrl('postgres') ?? ''), { pathname: `/${shopName}` }).href

  beforeAll(async () => {
    ;[log, others] = await Promise.all([createDatabase(), createDatabase()])
    await run(`CREATE DATABASE ${shopName}`)
    await others.pool.query('CREATE TABLE charge (key text, cents int); CREATE TABLE mail (id text)')
  })
  afterAll(async () => {
    for (const name of [shopName, backupName]) await run(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    await Promise.all([log.drop(), others.drop()])
  })

  /** The services whose database is not restored. */
  async function startOthers() {
    const pay = participant(
      charges,
      { group: 'payments', effects: 'tx' },
      {
        invoke: async ({ cents }, { tx, key }) => {
          await tx.query('INSERT INTO charge VALUES ($1, $2)', [key, cents])
          return { receipt: key }
        },
        compensate: async (_, { tx, key }) => void (await tx.query('DELETE FROM charge WHERE key = $1', [key])),
      },
    )
    const mail = sink(placed, { group: 'mail', once: true }, async ({ id }, { tx }) => {
      await tx.query('INSERT INTO mail VALUES ($1)', [id])
    })
    const transport = postgresTransport({ sql: log.sql })
    const service = createService({ name: 'others', sql: others.sql, transport, bindings: [pay, mail] })
    await service.start()
    onTestFinished(() => service.close())
  }

  /** Runs a life of the shop, from its start to its end. */
  async function shopLife<T>(
    work: (shop: { readonly service: ReturnType<typeof makeShop>; readonly pool: pg.Pool }) => Promise<T>,
  ) {
    const pool = new pg.Pool({ connectionString: shopUrl(), max: 8 })
    const service = makeShop(pool)
    try {
      await service.start()
      return await work({ service, pool })
    } finally {
      await service.close()
      await pool.end()
    }
  }
  function makeShop(pool: pg.Pool) {
    const transport = postgresTransport({ sql: log.sql })
    return createService({ name: 'shop', sql: pgClient(pool), transport, sagas: [buy], sends: [placed] })
  }
  const chargesOf = async (): Promise<readonly string[]> => {
    const { rows } = await others.pool.query('SELECT key FROM charge ORDER BY 1')
    return rows.map(({ key }) => key)
  }
  const isCharged = (count: number) =>
    until(`${count} charges are there`, async () => (await chargesOf()).length >= count)

  it('continues with the backup’s state; only the other services know of later work', async () => {
    await startOthers()
    await shopLife(async ({ service }) => {
      const first = await service.run(buy, { id: 'o-1', input: { cents: 1 } })
      await service.coordinator?.signal(buy, 'o-1', 'approval', {})
      expect((await first.outcome()).status).toBe('completed')
      await service.run(buy, { id: 'o-2', input: { cents: 2 } })
      await isCharged(2)
    })
    // The message is not sent yet when the backup is made.
    const pool = new pg.Pool({ connectionString: shopUrl(), max: 1 })
    const sql = pgClient(pool)
    const outbox = createOutbox({ sql, service: 'shop' })
    await sql.transaction((tx) => outbox.add(tx, placed, { id: 'o-2' }, { id: 'placed o-2' }))
    await pool.end()
    await run(`CREATE DATABASE ${backupName} TEMPLATE ${shopName}`)

    await shopLife(async ({ service }) => {
      for (const id of ['o-2', 'o-3']) {
        const sold = await service.run(buy, { id, input: { cents: Number(id.at(-1)) } })
        await service.coordinator?.signal(buy, id, 'approval', {})
        expect((await sold.outcome()).status).toBe('completed')
      }
      await until('the mail is written', async () => (await others.pool.query('SELECT FROM mail')).rowCount === 1)
    })
    await run(`DROP DATABASE ${shopName}`)
    await run(`CREATE DATABASE ${shopName} TEMPLATE ${backupName}`)

    await shopLife(async ({ service, pool: restored }) => {
      expect(await service.coordinator?.get(buy, 'o-1').report()).toMatchObject({ status: 'completed' })
      const second = service.coordinator?.get(buy, 'o-2')
      expect(await second?.report()).toMatchObject({ status: 'running' })
      await expect(service.coordinator?.get(buy, 'o-3').report()).rejects.toMatchObject({ code: 'saga.not_found' })
      // The saga began after the backup: started again under its id, it is not charged again.
      const third = await service.run(buy, { id: 'o-3', input: { cents: 3 } })
      expect(await third.outcome()).toMatchObject({ status: 'compensated', failure: { code: 'saga.done_before' } })
      await service.coordinator?.signal(buy, 'o-2', 'approval', {})
      expect((await second?.outcome())?.status).toBe('completed')
      const operator = createOperator({ sql: pgClient(restored) })
      await until('the outbox is empty', async () => (await operator.outbox.stats()).pending === 0)
    })
    // The message went out a second time under its id, and the saga asked for nothing twice.
    expect((await others.pool.query('SELECT id FROM mail')).rows).toEqual([{ id: 'o-2' }])
    expect((await chargesOf()).map((key) => key.replace(/^buy\//, '').split('/')[0])).toEqual(['o-1', 'o-2', 'o-3'])
  })
})
