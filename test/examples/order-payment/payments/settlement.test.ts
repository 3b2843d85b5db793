import { silentLogger } from 'concordat/core'
import { createFence } from 'concordat/locks'
import { memoryTransport } from 'concordat/memory'
import { createOutbox } from 'concordat/outbox'
import { createService } from 'concordat/service'
import { expect, test } from 'vitest'
import { booksClosed } from '../../../../examples/order-payment/contracts.ts'
import { ledgerTables, migrateLedger } from '../../../../examples/order-payment/payments/ledger.ts'
import { lead, type SettlementParts } from '../../../../examples/order-payment/payments/settlement.ts'
import { until } from '../../../support/until.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()

async function setup() {
  const { sql } = database
  const schema = database.newSchema()
  const tables = ledgerTables(schema)
  const outbox = createOutbox({ sql, service: 'payments', schema })
  const fence = createFence({ sql, schema })
  await migrateLedger(sql, schema)
  await outbox.migrate()
  await fence.migrate()
  const service = createService({ name: 'payments', sql, schema, transport: memoryTransport(), sends: [booksClosed] })
  const parts: SettlementParts = {
    sql,
    service: () => service,
    tables,
    fence,
    instance: 'payments-1',
    logger: silentLogger,
  }
  return {
    parts,
    request: (closing: string) => sql.query(`INSERT INTO ${tables.closing} (closing) VALUES ($1)`, [closing]),
    termOf: async (closing: string) =>
      (
        await sql.query<{ term: string | null }>(
          `SELECT term::text AS term FROM ${tables.closing} WHERE closing = $1`,
          [closing],
        )
      ).rows[0]?.term,
    terms: async () =>
      (await sql.query<{ t: string }>(`SELECT term::text AS t FROM ${tables.term} ORDER BY term`)).rows.map(
        ({ t }) => t,
      ),
    answers: async () => (await outbox.stats()).pending,
  }
}

test('the leader closes requested settlements, under its term, and reports them', async () => {
  const { parts, request, termOf, terms, answers } = await setup()
  await request('monday')
  const stop = new AbortController()
  const leading = lead(parts, 7, stop.signal)
  await until('the books are closed', async () => (await termOf('monday')) === '7')
  stop.abort()
  await leading
  expect(await terms()).toEqual(['7'])
  expect(await answers()).toBe(1)
})

test('a leader whose term is over writes nothing, even if it does not know', async () => {
  const { parts, request, termOf, terms } = await setup()
  const fenced: unknown[] = []
  const logger = { ...silentLogger, warn: (fields: Readonly<Record<string, unknown>>) => fenced.push(fields['err']) }
  await parts.sql.transaction((tx) => parts.fence.check(tx, 'books', 8))
  await request('monday')
  const stop = new AbortController()
  const leading = lead({ ...parts, logger }, 7, stop.signal)
  await until('it was refused twice', () => fenced.length >= 2)
  stop.abort()
  await leading
  expect(fenced[0]).toMatchObject({ code: 'locks.fence_rejected' })
  expect(await termOf('monday')).toBeNull()
  expect(await terms()).toEqual([])
})
