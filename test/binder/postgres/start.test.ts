import { createBinder, defineChannel, encodeMessage, sink } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresTransport } from 'concordat/postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { asNextRelease } from '../../support/next-release.ts'
import { until } from '../../support/until.ts'
import { onPglite, starterOn } from './support/on-pglite.ts'

const { database, sql } = onPglite()
const { sql: otherSql } = onPglite()

let count = 0
const Payload = z.object({ n: z.number() })
const plain = defineChannel('numbers', { payload: Payload, partitions: 1, groups: ['g'] })
const MODES = ['create', 'check', 'none'] as const

function setup() {
  const schema = `start${++count}`
  const started = starterOn(sql, schema)
  const run = async (text: string): Promise<void> => void (await sql.query(text.replaceAll('{schema}', schema)))
  return { schema, started, run }
}

describe('tables of a release that this one cannot work with', () => {
  it.for(['create', 'check'] as const)('are refused when it starts: %s', async (provision) => {
    const t = setup()
    await (await t.started({ sends: [plain] })).close()
    await t.run(`INSERT INTO {schema}.concordat_migration (part, version, works_with) VALUES ('transport', 98, 98)`)
    const start = t.started({ bindings: [sink(plain, { group: 'g' }, () => {})] }, { provision })
    await expect(start).rejects.toMatchObject({ code: 'binder.transport', kind: 'mismatch', retryable: false })
    await expect(start).rejects.toThrow(/"transport" in schema "start\d+" have version 98, this release needs \d+: run/)
  })

  it('are refused when they are older, where it may not change them', async () => {
    const t = setup()
    await (await t.started({ sends: [plain] })).close()
    asNextRelease('transport')
    const start = t.started({ sends: [plain] }, { provision: 'check' })
    await expect(start).rejects.toMatchObject({
      kind: 'mismatch',
      message: expect.stringMatching(/version 1, .*migrate/),
    })
  })
})

describe('transactions of another database than the one of the log', () => {
  it.for(MODES)('are refused when it starts, with every provisioning: %s', async (provision) => {
    const t = setup()
    await t.started({ sends: [plain] })
    await postgresTransport({ sql: otherSql, schema: t.schema }).migrate()
    const start = t.started({ sends: [plain] }, { transactionsOf: otherSql, provision })
    await expect(start).rejects.toMatchObject({ code: 'binder.transport', kind: 'mismatch', retryable: false })
    await expect(start).rejects.toThrow(/postgresTransport\.transactionsOf: expected a client of the database of `sql`/)
  })

  it('are refused when there is no log in it', async () => {
    const t = setup()
    const start = t.started({ sends: [plain] }, { transactionsOf: otherSql })
    await expect(start).rejects.toMatchObject({
      kind: 'mismatch',
      message: expect.stringContaining('postgresTransport.transactionsOf'),
    })
  })

  it('are checked again when another member has removed lost members in between', async () => {
    const t = setup()
    await t.started({ sends: [plain] })
    let forgotten = 0
    const forgets: SqlClient = {
      ...pgliteClient(database),
      async query(text, parameters) {
        // Simulates a member that starts at that moment.
        if (text.includes('SELECT EXISTS') && forgotten++ < 2)
          await t.run(`DELETE FROM {schema}.transport_session WHERE owner LIKE 'look/%'`)
        return sql.query(text, parameters)
      },
    }
    await t.started({ sends: [plain] }, { transactionsOf: forgets })
    expect(forgotten).toBe(3)
  })

  it('are taken when it is another client of the same one', async () => {
    const t = setup()
    const transactionsOf = pgliteClient(database)
    const transport = postgresTransport({ sql, transactionsOf, schema: t.schema })
    const got: number[] = []
    const bindings = [sink(plain, { group: 'g' }, ({ n }) => void got.push(n))]
    const binder = createBinder({ service: 'test', transport, bindings })
    onTestFinished(() => binder.close())
    await binder.start()
    await transactionsOf.transaction(async (tx) => {
      await transport.publishIn?.(tx, [await encodeMessage(plain, { n: 1 }, 'test')])
    })
    await until('it came', () => got.length === 1)
  })
})

it('a read-only transaction alone is not treated as a replica', async () => {
  const t = setup()
  const binder = await t.started({ sends: [plain] })
  await t.run('SET default_transaction_read_only = on')
  onTestFinished(() => t.run('SET default_transaction_read_only = off'))
  await expect(binder.send(plain, { n: 1 })).rejects.toMatchObject({
    retryable: true,
    message: expect.stringMatching(/connect to the primary.*default_transaction_read_only/),
  })
})

describe('retentionMs of a channel', () => {
  const kept = defineChannel('numbers', { payload: Payload, partitions: 1, groups: ['g'], retentionMs: 60_000 })

  it.for([
    { first: plain, later: kept, holds: true, title: 'that is declared later holds' },
    { first: kept, later: plain, holds: true, title: 'that a service does not declare stays' },
  ])('$title', async ({ first, later, holds }) => {
    const t = setup()
    await (await t.started({ sends: [first] })).close()
    await (await t.started({ sends: [later] })).close()
    expect(await isKept(t)).toBe(holds)
  })

  it('a shorter retentionMs of a channel takes effect', async () => {
    const t = setup()
    const long = defineChannel('numbers', { payload: Payload, partitions: 1, groups: ['g'], retentionMs: 120_000 })
    await (await t.started({ sends: [long] })).close()
    await (await t.started({ sends: [kept] })).close()
    const { rows } = await sql.query(`SELECT DISTINCT retention_ms::int AS ms FROM ${t.schema}.transport_partition`)
    expect(rows).toEqual([{ ms: 60_000 }])
  })

  /**
   * Whether messages that one group has settled are still stored for a later group, once their segment could be freed.
   */
  async function isKept(t: ReturnType<typeof setup>): Promise<boolean> {
    const settled: number[] = []
    const binder = await t.started({ bindings: [sink(plain, { group: 'g' }, ({ n }) => void settled.push(n))] })
    for (let n = 0; n < 5; n++) await binder.send(plain, { n })
    await until('all is settled', async () => settled.length === 5 && (await binder.lag('numbers.g')) === 0)
    await t.run('SELECT {schema}.transport_rotate(1, 0, 0)')
    await binder.send(plain, { n: 5 })
    await until('all is settled', async () => settled.length === 6 && (await binder.lag('numbers.g')) === 0)
    await t.run('SELECT {schema}.transport_clear(0::smallint, 50000)')
    const late: number[] = []
    await t.started({ bindings: [sink(plain, { group: 'late' }, ({ n }) => void late.push(n))] })
    await until('the later group has the newest', () => late.includes(5))
    return late.length === 6
  }
})
